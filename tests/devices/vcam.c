/* A camera for machines without one: preloaded, it answers for one device file a process as a USB camera's
 * driver would, so that OpenCV's real Video4Linux code runs against it.
 *
 *   VCAM_DEVICE   the device file, any plain file; or a pattern of several, of which a process opens one
 *   VCAM_CONTROL  a file that holds a struct control, through which a test commands faults and looks on;
 *                 where it is not set, "control" beside the device file
 *   VCAM_FILM     (or "film.mjpg" beside the device file) JPEGs, one behind the other, sent by turns when the format is MJPG; the first three are a
 *                 green, a white and a black one, sent where a command says so
 *
 * The device's descriptor is a timer: it becomes readable once a picture period, as a camera's does, and
 * a picture is made when it is fetched. Like a camera on USB 2 it gives raw pictures only as fast as the
 * bus allows.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum look { FILM, FROZEN, GREEN, WHITE, BLACK };

enum { BUFFERS = 8, BUFFER_BYTES = 1 << 23, RAW_BYTES_PER_SECOND = 24576000, JPEG_FPS = 60, MOST_JPEGS = 1024, MARKED = 3 };

struct control {
    /* commands */
    uint32_t open_error;     /* errno that open gives */
    uint32_t device_error;   /* errno that every request gives, 19 for a pulled plug */
    uint32_t stalled;        /* no pictures */
    uint32_t age_us;         /* how old each picture is when it can be fetched */
    uint32_t wall_clock;     /* timestamps are of the wrong clock */
    uint32_t sent_percent;   /* how much of each picture arrives; 0 means all */
    uint32_t no_mjpg;        /* the camera knows raw pictures only */
    uint32_t look;           /* what pictures show: enum look */
    uint32_t only_width, only_height, only_fps; /* what the camera runs at and says, whatever is asked for; 0: as asked */
    uint32_t wrong_opens; /* so often more it comes up small and slow, and stays so whatever is asked for */
    uint32_t plugged;     /* counts plugs into the socket: what was opened before the last is dead for good */
    uint32_t true_fps;       /* what it runs at, whatever it says; 0: as it says */
    /* observations */
    uint32_t opened;         /* how often */
    uint32_t fourcc, width, height, fps;
    uint32_t fetched;        /* pictures */
    uint32_t refused;        /* requests answered with device_error */
};

static volatile struct control *control;
static uint8_t *film;
static size_t jpegs, jpeg_starts[MOST_JPEGS + 1]; /* where each begins in the film, and the end */
static uint64_t shown; /* the number of the last picture that was not a frozen one */

static int device = -1;
static uint32_t opened_when; /* what control->plugged was */
static int wrong;            /* it came up small and slow */
static int memory = -1; /* the buffers, as a file, so that they can be mapped */
static uint8_t *buffers;
static struct v4l2_pix_format format = {.width = 640, .height = 480, .pixelformat = V4L2_PIX_FMT_YUYV};
static uint32_t want_fps = 30;
static uint64_t sequence; /* counts picture periods of this stream */
static int64_t started_ns;
static int queue[BUFFERS], queued; /* buffers lent to the driver, oldest first */

#define REAL(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static int fail(int error) {
    errno = error;
    return -1;
}

static void *map_file(const char *device_path, const char *variable, const char *beside, int protection, size_t *bytes) {
    char path[PATH_MAX];
    const char *told = getenv(variable);
    int folder = (int)(strrchr(device_path, '/') - device_path);
    if (told)
        snprintf(path, sizeof path, "%s", told);
    else
        snprintf(path, sizeof path, "%.*s/%s", folder, device_path, beside);
    int file = REAL(open)(path, protection & PROT_WRITE ? O_RDWR : O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status))
        abort(); /* the test forgot it */
    void *content = REAL(mmap)(NULL, status.st_size, protection, MAP_SHARED, file, 0);
    if (bytes)
        *bytes = status.st_size;
    REAL(close)(file);
    return content;
}

static int is_device(const char *path) {
    const char *pattern = getenv("VCAM_DEVICE");
    return pattern && path && path[0] == '/' && !fnmatch(pattern, path, FNM_PATHNAME);
}

static void load_film(const char *device_path) {
    size_t bytes;
    film = map_file(device_path, "VCAM_FILM", "film.mjpg", PROT_READ, &bytes);
    for (size_t i = 0; i + 2 < bytes && jpegs < MOST_JPEGS; i++)
        if (film[i] == 0xff && film[i + 1] == 0xd8 && film[i + 2] == 0xff) /* 0xff is 0xff00 elsewhere in a JPEG */
            jpeg_starts[jpegs++] = i;
    jpeg_starts[jpegs] = bytes;
    if (jpegs <= MARKED)
        abort();
}

static int open_device(const char *path) {
    if (!control) {
        control = map_file(path, "VCAM_CONTROL", "control", PROT_READ | PROT_WRITE, NULL);
        load_film(path);
        memory = memfd_create("vcam", MFD_CLOEXEC);
        if (ftruncate(memory, (off_t)BUFFERS * BUFFER_BYTES))
            abort();
        buffers = REAL(mmap)(NULL, (size_t)BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    }
    if (control->open_error)
        return fail(control->open_error);
    control->opened++;
    opened_when = control->plugged;
    wrong = control->wrong_opens > 0;
    control->wrong_opens -= wrong;
    want_fps = 30;
    return device = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
}

/* --- requests, each as its driver would answer it */

static int describe(struct v4l2_capability *capability) {
    memset(capability, 0, sizeof *capability);
    strcpy((char *)capability->driver, "vcam");
    strcpy((char *)capability->card, "preloaded camera");
    strcpy((char *)capability->bus_info, "usb-vcam");
    capability->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int list_format(struct v4l2_fmtdesc *description) {
    if (description->index > (control->no_mjpg ? 0 : 1))
        return fail(EINVAL);
    description->pixelformat = description->index ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
    return 0;
}

static void get_format(struct v4l2_pix_format *given) {
    int is_jpeg = format.pixelformat == V4L2_PIX_FMT_MJPEG;
    *given = format;
    given->field = V4L2_FIELD_NONE;
    given->bytesperline = is_jpeg ? 0 : format.width * 2;
    given->sizeimage = is_jpeg ? BUFFER_BYTES : format.width * format.height * 2;
    given->colorspace = V4L2_COLORSPACE_SRGB;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) {
    return value < low ? low : value > high ? high : value;
}

static int set_format(struct v4l2_pix_format *wanted) {
    int is_jpeg = wanted->pixelformat == V4L2_PIX_FMT_MJPEG && !control->no_mjpg;
    format.pixelformat = is_jpeg ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
    if (wrong) {
        format.pixelformat = V4L2_PIX_FMT_YUYV;
        format.width = 320, format.height = 240;
        get_format(wanted);
        return 0;
    }
    format.width = control->only_width ? control->only_width : clamp(wanted->width, 160, 1920) & ~1u;
    format.height = control->only_height ? control->only_height : clamp(wanted->height, 120, 1080);
    get_format(wanted);
    return 0;
}

static uint32_t fps_now(void) {
    uint32_t most = JPEG_FPS;
    if (control->only_fps || wrong)
        return wrong ? 15 : control->only_fps;
    if (format.pixelformat == V4L2_PIX_FMT_YUYV)
        most = RAW_BYTES_PER_SECOND / (format.width * format.height * 2);
    return clamp(want_fps, 1, clamp(most, 1, JPEG_FPS));
}

static int rate(struct v4l2_streamparm *parameters, int set) {
    struct v4l2_captureparm *capture = &parameters->parm.capture;
    if (set && capture->timeperframe.numerator)
        want_fps = capture->timeperframe.denominator / capture->timeperframe.numerator;
    capture->capability = V4L2_CAP_TIMEPERFRAME;
    capture->timeperframe.numerator = 1;
    capture->timeperframe.denominator = fps_now();
    return 0;
}

static int64_t period(void) {
    uint32_t fps = control->true_fps ? control->true_fps : fps_now();
    return fps > 1 ? 1000000000L / fps : 999999999L;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static int64_t set_period_ns; /* what the timer was set to */

static int set_timer(int64_t period_ns) {
    struct itimerspec timer = {.it_interval.tv_nsec = period_ns, .it_value.tv_nsec = period_ns};
    set_period_ns = period_ns;
    return timerfd_settime(device, 0, &timer, NULL);
}

static int stream_on(void) {
    control->fourcc = format.pixelformat;
    control->width = format.width;
    control->height = format.height;
    control->fps = fps_now();
    sequence = 0;
    started_ns = clock_ns(CLOCK_MONOTONIC);
    return set_timer(period());
}

static int stream_off(void) {
    queued = 0;
    return set_timer(0);
}

static int query_buffer(struct v4l2_buffer *buffer) {
    if (buffer->index >= BUFFERS)
        return fail(EINVAL);
    buffer->length = BUFFER_BYTES;
    buffer->m.offset = buffer->index * BUFFER_BYTES;
    return 0;
}

static size_t make_jpeg(uint8_t *picture, enum look look) {
    size_t index = look >= GREEN ? look - GREEN : MARKED + shown % (jpegs - MARKED);
    size_t bytes = jpeg_starts[index + 1] - jpeg_starts[index];
    memcpy(picture, film + jpeg_starts[index], bytes);
    return bytes;
}

static size_t make_raw(uint8_t *pixels, enum look look) {
    static const uint8_t luma[] = {[GREEN] = 0, [WHITE] = 235, [BLACK] = 16}, chroma[] = {[GREEN] = 0, [WHITE] = 128, [BLACK] = 128};
    size_t bytes = (size_t)format.width * format.height * 2;
    for (size_t i = 0; i < bytes; i += 2) { /* green is what a driver forgot to fill */
        pixels[i] = look >= GREEN ? luma[look] : 16 + (shown + i / 64) % 200;
        pixels[i + 1] = look >= GREEN ? chroma[look] : 128;
    }
    return bytes;
}

static size_t make_picture(uint8_t *picture) {
    enum look look = control->look;
    if (look != FROZEN)
        shown++;
    size_t bytes = format.pixelformat == V4L2_PIX_FMT_MJPEG ? make_jpeg(picture, look) : make_raw(picture, look);
    return control->sent_percent ? bytes * control->sent_percent / 100 : bytes;
}

static int fetch(struct v4l2_buffer *buffer) {
    uint64_t periods;
    if (read(device, &periods, sizeof periods) < 0 || control->stalled || !queued)
        return fail(EAGAIN);
    sequence += periods;
    if (period() != set_period_ns)
        stream_on();
    control->fetched++;
    int index = queue[0];
    memmove(queue, queue + 1, --queued * sizeof *queue);

    int64_t taken_us = (started_ns + (int64_t)sequence * period()) / 1000 - control->age_us;
    if (control->wall_clock)
        taken_us += (clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)) / 1000;
    buffer->index = index;
    query_buffer(buffer);
    buffer->bytesused = make_picture(buffers + buffer->m.offset);
    buffer->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_DONE | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    buffer->field = V4L2_FIELD_NONE;
    buffer->sequence = sequence;
    buffer->timestamp.tv_sec = taken_us / 1000000;
    buffer->timestamp.tv_usec = taken_us % 1000000;
    return 0;
}

static int answer(uint32_t request, void *argument) {
    if (control->device_error || opened_when != control->plugged) {
        control->refused++;
        return fail(control->device_error ? control->device_error : ENODEV);
    }
    switch (request) {
    case VIDIOC_QUERYCAP: return describe(argument);
    case VIDIOC_ENUM_FMT: return list_format(argument);
    case VIDIOC_G_FMT: get_format(&((struct v4l2_format *)argument)->fmt.pix); return 0;
    case VIDIOC_TRY_FMT:
    case VIDIOC_S_FMT: return set_format(&((struct v4l2_format *)argument)->fmt.pix);
    case VIDIOC_G_PARM: return rate(argument, 0);
    case VIDIOC_S_PARM: return rate(argument, 1);
    case VIDIOC_ENUMINPUT: return ((struct v4l2_input *)argument)->index ? fail(EINVAL) : 0;
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *wanted = argument;
        wanted->count = clamp(wanted->count, 0, BUFFERS);
        queued = 0;
        return 0;
    }
    case VIDIOC_QUERYBUF: return query_buffer(argument);
    case VIDIOC_QBUF: queue[queued++] = ((struct v4l2_buffer *)argument)->index; return 0;
    case VIDIOC_DQBUF: return fetch(argument);
    case VIDIOC_STREAMON: return stream_on();
    case VIDIOC_STREAMOFF: return stream_off();
    default: return fail(ENOTTY);
    }
}

/* --- what is put before the C library's own */

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return is_device(path) ? open_device(path) : REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return is_device(path) ? open_device(path) : REAL(open64)(path, flags, mode);
}

int close(int descriptor) {
    if (descriptor >= 0 && descriptor == device)
        device = -1;
    return REAL(close)(descriptor);
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (descriptor >= 0 && descriptor == device)
        return answer((uint32_t)request, argument);
    return REAL(ioctl)(descriptor, request, argument);
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    int file = descriptor >= 0 && descriptor == device ? memory : descriptor;
    return REAL(mmap)(address, length, protection, flags, file, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off64_t offset) {
    return mmap(address, length, protection, flags, descriptor, offset);
}
