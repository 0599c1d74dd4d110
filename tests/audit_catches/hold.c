/* Preloaded into the daemon by the test: holds a socket for as long as a file exists. A UDP socket, which with HOLD_UDP_TO
 * sends to that address and port all the time; or with HOLD_TCP_TO a connection. */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_udp(void)
{
	struct sockaddr_in local = { .sin_family = AF_INET, .sin_port = htons(5353) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bind(fd, (struct sockaddr *)&local, sizeof local);
	return fd;
}

static struct sockaddr_in target(const char *to)
{
	char address[64];
	unsigned port;
	struct sockaddr_in remote = { .sin_family = AF_INET };
	if (sscanf(to, "%63s %u", address, &port) == 2 && inet_pton(AF_INET, address, &remote.sin_addr) == 1)
		remote.sin_port = htons(port);
	return remote;
}

static int open_tcp(const char *to)
{
	struct sockaddr_in remote = target(to);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connect(fd, (struct sockaddr *)&remote, sizeof remote);
	return fd;
}

static void *hold(void *file)
{
	const char *to = getenv("HOLD_TCP_TO"), *udp_to = getenv("HOLD_UDP_TO");
	int fd = -1;
	for (;; usleep(20000)) {
		int wanted = access(file, F_OK) == 0;
		if (wanted && fd < 0) {
			fd = to ? open_tcp(to) : open_udp();
		} else if (!wanted && fd >= 0) {
			close(fd);
			fd = -1;
		}
		if (fd >= 0 && udp_to) {
			struct sockaddr_in remote = target(udp_to);
			sendto(fd, "x", 1, 0, (struct sockaddr *)&remote, sizeof remote);
		}
	}
	return NULL;
}

__attribute__((constructor)) static void begin(void)
{
	pthread_t thread;
	char *file = getenv("HOLD_WHILE");
	if (file)
		pthread_create(&thread, NULL, hold, file);
}
