/* Preloaded into the daemon by the test: holds a UDP socket for as long as a file exists. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void *hold(void *file)
{
	int fd = -1;
	for (;; usleep(20000)) {
		int wanted = access(file, F_OK) == 0;
		if (wanted && fd < 0) {
			struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(5353) };
			fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
			bind(fd, (struct sockaddr *)&local, sizeof local);
		} else if (!wanted && fd >= 0) {
			close(fd);
			fd = -1;
		}
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	pthread_t thread;
	char *file = getenv("HOLD_UDP_WHILE");
	if (file)
		pthread_create(&thread, NULL, hold, file);
}
