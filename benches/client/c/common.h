/* What both C programs share: the case, the window, the processor time. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TOPIC "bench/client/measured"
#define PAYLOAD 128
#define IN_FLIGHT 1000

struct run {
    bool is_receiving;
    int qos, port;
    long messages;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long under_way, received;
static double first_at, last_at;

static void check(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

static struct run begin(int count, char **arguments) {
    check(count == 4 && strlen(arguments[1]) == 9, "the command line");
    return (struct run){
        .is_receiving = arguments[1][0] == 'r',
        .qos = arguments[1][8] - '0',
        .port = atoi(arguments[2]),
        .messages = atol(arguments[3]),
    };
}

static double cpu_milliseconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

static inline void one_done(void) {
    pthread_mutex_lock(&lock);
    under_way--;
    if (under_way == 0 || under_way == IN_FLIGHT - 1) pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static inline void wait_for_room(void) {
    pthread_mutex_lock(&lock);
    while (under_way >= IN_FLIGHT) pthread_cond_wait(&changed, &lock);
    under_way++;
    pthread_mutex_unlock(&lock);
}

static inline void wait_for_all(void) {
    pthread_mutex_lock(&lock);
    while (under_way > 0) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static inline void say_ready(void) {
    puts("ready");
    fflush(stdout);
}

/* Whether that was the last message. */
static inline bool received_one(const void *payload, size_t length) {
    if (length == 3 && memcmp(payload, "end", 3) == 0) {
        if (last_at == 0) last_at = cpu_milliseconds();
        return true;
    }
    if (received++ == 0) first_at = cpu_milliseconds();
    return false;
}

static inline void finish_receiving(void) {
    printf("%g\n", (last_at - first_at) / (double)received);
}
