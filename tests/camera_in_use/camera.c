/* Preloaded into the daemon by the test: makes a V4L2 camera of a regular file. It answers what the kernel's V4L2 core and a
 * driver would: YUYV, 320x240, 30 frames/s, buffers to be mapped. Whoever has asked for buffers holds a lock on the file, and
 * the next one to ask is told EBUSY; when the file has lost its name, the camera is unplugged. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 320, HEIGHT = 240, BYTES = WIDTH * HEIGHT * 2, STEP = 160 * 1024, BUFFERS = 4, RATE = 30 };

static unsigned queue[BUFFERS], queued, sequence;

static int failed(int code)
{
	errno = code;
	return -1;
}

static void set_format(struct v4l2_format *format)
{
	format->fmt.pix = (struct v4l2_pix_format){ .width = WIDTH, .height = HEIGHT, .pixelformat = V4L2_PIX_FMT_YUYV,
		.field = V4L2_FIELD_NONE, .bytesperline = WIDTH * 2, .sizeimage = BYTES };
}

static int request(int fd, struct v4l2_requestbuffers *wanted)
{
	if (wanted->count == 0)
		return flock(fd, LOCK_UN);
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return failed(EBUSY);
	wanted->count = BUFFERS;
	queued = 0;
	return ftruncate(fd, BUFFERS * STEP);
}

/* The next picture when its time has come: all of it in one shade, which changes. */
static int picture(int fd, struct v4l2_buffer *buffer)
{
	static unsigned char pixels[BYTES];
	struct timespec pause = { .tv_nsec = 1000000000 / RATE };
	if (queued == 0)
		return failed(EAGAIN);
	nanosleep(&pause, NULL);
	buffer->index = queue[0];
	memmove(queue, queue + 1, --queued * sizeof queue[0]);
	memset(pixels, 16 + sequence * 4 % 200, BYTES);
	buffer->bytesused = pwrite(fd, pixels, BYTES, (off_t)buffer->index * STEP);
	buffer->sequence = sequence++;
	return 0;
}

static int answer(int fd, unsigned long request_code, void *argument)
{
	struct v4l2_capability *what = argument;
	struct v4l2_fmtdesc *format = argument;
	struct v4l2_frmsizeenum *size = argument;
	struct v4l2_frmivalenum *interval = argument;
	struct v4l2_streamparm *parameters = argument;
	struct v4l2_buffer *buffer = argument;
	switch (request_code) {
	case VIDIOC_QUERYCAP:
		memset(what, 0, sizeof *what);
		strcpy((char *)what->driver, "preloaded");
		strcpy((char *)what->card, "Camera of a test");
		strcpy((char *)what->bus_info, "platform:test");
		what->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
		what->capabilities = what->device_caps | V4L2_CAP_DEVICE_CAPS;
		return 0;
	case VIDIOC_ENUM_FMT:
		if (format->index > 0)
			return failed(EINVAL);
		format->pixelformat = V4L2_PIX_FMT_YUYV;
		strcpy((char *)format->description, "YUYV 4:2:2");
		return 0;
	case VIDIOC_ENUM_FRAMESIZES:
		if (size->index > 0)
			return failed(EINVAL);
		size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
		size->discrete = (struct v4l2_frmsize_discrete){ WIDTH, HEIGHT };
		return 0;
	case VIDIOC_ENUM_FRAMEINTERVALS:
		if (interval->index > 0)
			return failed(EINVAL);
		interval->type = V4L2_FRMIVAL_TYPE_DISCRETE;
		interval->discrete = (struct v4l2_fract){ 1, RATE };
		return 0;
	case VIDIOC_G_FMT:
	case VIDIOC_S_FMT:
		set_format(argument);
		return 0;
	case VIDIOC_G_PARM:
	case VIDIOC_S_PARM:
		parameters->parm.capture.timeperframe = (struct v4l2_fract){ 1, RATE };
		return 0;
	case VIDIOC_REQBUFS:
		return request(fd, argument);
	case VIDIOC_QUERYBUF:
		if (buffer->index >= BUFFERS)
			return failed(EINVAL);
		buffer->length = BYTES;
		buffer->m.offset = buffer->index * STEP;
		return 0;
	case VIDIOC_QBUF:
		if (buffer->index >= BUFFERS || queued >= BUFFERS)
			return failed(EINVAL);
		queue[queued++] = buffer->index;
		return 0;
	case VIDIOC_DQBUF:
		return picture(fd, buffer);
	case VIDIOC_STREAMON:
		return 0;
	case VIDIOC_STREAMOFF:
		queued = 0;
		return 0;
	default:
		return failed(ENOTTY);
	}
}

/* The daemon asks the kernel by this one, for whatever it needs. */
long syscall(long number, ...)
{
	static long (*next)(long, ...);
	struct stat file;
	va_list list;
	long all[6];
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		all[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_ioctl && _IOC_TYPE((unsigned long)all[1]) == 'V' && fstat((int)all[0], &file) == 0 &&
	    S_ISREG(file.st_mode))
		return file.st_nlink == 0 ? failed(ENODEV) : answer((int)all[0], (unsigned long)all[1], (void *)all[2]);
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return next(number, all[0], all[1], all[2], all[3], all[4], all[5]);
}
