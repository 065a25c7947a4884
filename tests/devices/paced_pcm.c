/*
 * A microphone for ALSA's own library: a PCM plug-in that counts, one sample a tick of the
 * monotonic clock, and that over-runs, falls silent and dies as hardware does.
 *
 * asound.conf:  pcm.NAME { type paced  control "/a/folder" }
 * A file in the control folder is an order: "gone" unplugs the device, "busy" lets nobody open it, "quiet"
 * stops its samples and wake-ups, "choked" lets it over-run for ever, "rattled" four times a second, "stereo"
 * gives it no single channel, "cd" no rate but 44100, "slow" a tenth fewer samples than its rate says, "zeros" and
 * "loud" samples that are all 0 or all at full scale. Sample n of the device's life is n modulo 30011.
 *
 * Build:  gcc -shared -fPIC -DPIC -o libasound_module_pcm_paced.so paced_pcm.c -lasound
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CYCLE 30011

struct paced {
    snd_pcm_ioplug_t io;
    char control[512];
    int timer;
    int64_t start_ns; /* when the stream began */
    int64_t born;     /* samples since boot at that moment, so that lost sound shows as a jump */
    int64_t read;     /* frames handed over since */
    int64_t told;     /* where the library last heard that the sound is */
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int ordered(const struct paced *mic, const char *order) {
    char path[640];
    snprintf(path, sizeof path, "%s/%s", mic->control, order);
    return access(path, F_OK) == 0;
}

static int64_t heard(const struct paced *mic) {
    int64_t samples = (now_ns() - mic->start_ns) * mic->io.rate / 1000000000;
    return ordered(mic, "slow") ? samples * 9 / 10 : samples;
}

static int paced_prepare(snd_pcm_ioplug_t *io) {
    return ordered(io->private_data, "gone") ? -ENODEV : 0;
}

static int paced_start(snd_pcm_ioplug_t *io) {
    struct paced *mic = io->private_data;
    long period_ns = (long)(io->period_size * INT64_C(1000000000) / io->rate);
    struct itimerspec every = {{0, period_ns}, {0, period_ns}};
    mic->start_ns = now_ns();
    mic->born = mic->start_ns / 1000 * io->rate / 1000000;
    mic->read = mic->told = 0;
    return timerfd_settime(mic->timer, 0, &every, NULL);
}

static int paced_stop(snd_pcm_ioplug_t *io) {
    struct paced *mic = io->private_data;
    struct itimerspec never = {{0, 0}, {0, 0}};
    return timerfd_settime(mic->timer, 0, &never, NULL);
}

static snd_pcm_sframes_t paced_pointer(snd_pcm_ioplug_t *io) {
    struct paced *mic = io->private_data;
    int64_t waiting = heard(mic) - mic->read;
    if (ordered(mic, "gone") || ordered(mic, "choked"))
        return -EPIPE;
    if (ordered(mic, "rattled") && now_ns() - mic->start_ns > 250000000)
        return -EPIPE;
    if (ordered(mic, "quiet")) {
        paced_stop(io);
        return mic->told % io->buffer_size;
    }
    if (waiting >= (int64_t)io->buffer_size)
        return -EPIPE; /* the buffer is full: sound is being lost */
    mic->told = mic->read + waiting;
    return mic->told % io->buffer_size;
}

static snd_pcm_sframes_t paced_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
                                        snd_pcm_uframes_t offset, snd_pcm_uframes_t size) {
    struct paced *mic = io->private_data;
    int zeros = ordered(mic, "zeros"), loud = ordered(mic, "loud");
    for (unsigned channel = 0; channel < io->channels; channel++) {
        char *first = (char *)areas[channel].addr + areas[channel].first / 8;
        for (snd_pcm_uframes_t i = 0; i < size; i++)
            *(int16_t *)(first + (offset + i) * areas[channel].step / 8) =
                zeros ? 0 : loud ? (i & 16 ? INT16_MAX : INT16_MIN) : (int16_t)((mic->born + mic->read + (int64_t)i) % CYCLE);
    }
    mic->read += (int64_t)size;
    return (snd_pcm_sframes_t)size;
}

static int paced_poll_revents(snd_pcm_ioplug_t *io, struct pollfd *fds, unsigned count,
                              unsigned short *events) {
    struct paced *mic = io->private_data;
    uint64_t ticks;
    if (count == 1 && fds[0].revents & POLLIN && read(mic->timer, &ticks, sizeof ticks) > 0)
        *events = POLLIN;
    else
        *events = 0;
    return 0;
}

static int paced_close(snd_pcm_ioplug_t *io) {
    struct paced *mic = io->private_data;
    close(mic->timer);
    free(mic);
    return 0;
}

static const snd_pcm_ioplug_callback_t CALLBACKS = {
    .prepare = paced_prepare,
    .start = paced_start,
    .stop = paced_stop,
    .pointer = paced_pointer,
    .transfer = paced_transfer,
    .poll_revents = paced_poll_revents,
    .close = paced_close,
};

static int constrain(struct paced *mic) {
    static const unsigned access[] = {SND_PCM_ACCESS_RW_INTERLEAVED};
    static const unsigned format[] = {SND_PCM_FORMAT_S16_LE};
    snd_pcm_ioplug_t *io = &mic->io;
    int error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access);
    if (error >= 0) error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, format);
    unsigned fewest = ordered(mic, "stereo") ? 2 : 1;
    unsigned slowest = ordered(mic, "cd") ? 44100 : 8000, fastest = ordered(mic, "cd") ? 44100 : 48000;
    if (error >= 0) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, fewest, 2);
    if (error >= 0) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, slowest, fastest);
    if (error >= 0) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64, 16384);
    if (error >= 0) error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIODS, 2, 32);
    return error;
}

SND_PCM_PLUGIN_DEFINE_FUNC(paced) {
    snd_config_iterator_t i, next;
    const char *control = "";
    struct paced *mic;
    int error;
    snd_config_for_each(i, next, conf) {
        snd_config_t *entry = snd_config_iterator_entry(i);
        const char *id;
        if (snd_config_get_id(entry, &id) >= 0 && strcmp(id, "control") == 0)
            snd_config_get_string(entry, &control);
    }
    if (stream != SND_PCM_STREAM_CAPTURE) return -EINVAL;
    mic = calloc(1, sizeof *mic);
    if (mic == NULL) return -ENOMEM;
    snprintf(mic->control, sizeof mic->control, "%s", control);
    if (ordered(mic, "gone") || ordered(mic, "busy")) {
        error = ordered(mic, "gone") ? -ENODEV : -EBUSY;
        free(mic);
        return error;
    }
    mic->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    mic->io.version = SND_PCM_IOPLUG_VERSION;
    mic->io.name = "paced microphone";
    mic->io.callback = &CALLBACKS;
    mic->io.private_data = mic;
    mic->io.poll_fd = mic->timer;
    mic->io.poll_events = POLLIN;
    error = snd_pcm_ioplug_create(&mic->io, name, stream, mode);
    if (error < 0) {
        close(mic->timer);
        free(mic);
        return error;
    }
    error = constrain(mic);
    if (error < 0) {
        snd_pcm_ioplug_delete(&mic->io);
        return error;
    }
    *pcmp = mic->io.pcm;
    return 0;
}

SND_PCM_PLUGIN_SYMBOL(paced);
