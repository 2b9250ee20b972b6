/*
 * An open loop of HTTP requests: each is due at its own moment, whether earlier ones have been answered or not, and its latency
 * counts from that moment. Nothing is omitted when a server stalls. Gaps are random (Poisson), the same in every run.
 *
 * usage: paced PORT PATH RATE SECONDS CONNECTIONS   prints one line of JSON; SIGTERM: no new requests
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 16384, EVENTS = 256, PATIENCE_NS = 2000000000 };

struct client {
    int fd;
    int64_t due; /* of the request that is being answered */
    size_t filled;
    char answer[ROOM];
};

static struct sockaddr_in address;
static char request[1024];
static int request_size;
static int poller;
static struct client **idle;
static long idle_count;
static int64_t *due_at;
static uint32_t *latency_us;
static long answered;
static volatile sig_atomic_t is_over;

static void end(int unused) {
    (void)unused;
    is_over = 1;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void plan(long total, double rate) {
    double at = 0;
    srand48(1);
    due_at = malloc(total * sizeof *due_at);
    latency_us = malloc(total * sizeof *latency_us);
    for (long number = 0; number < total; number++) {
        due_at[number] = (int64_t)(at * 1e9);
        at -= log(1 - drand48()) / rate;
    }
}

/* Connecting to this very machine takes no time worth an event. */
static void open_client(struct client *client) {
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
}

static void reopen(struct client *client) {
    close(client->fd);
    open_client(client);
}

/* Every connection is either idle, or answering one request. */
static void release(struct client *client) {
    client->due = 0;
    client->filled = 0;
    idle[idle_count++] = client;
}

static void ask(struct client *client, int64_t due) {
    client->due = due;
    if (send(client->fd, request, request_size, MSG_NOSIGNAL) == request_size) return;
    reopen(client);
    release(client);
}

/* The length of the whole answer; 0 while its head is incomplete, -1 when it is not what was asked for. */
static long answer_size(const struct client *client) {
    const char *end = strstr(client->answer, "\r\n\r\n");
    if (!end) return client->filled < ROOM - 1 ? 0 : -1;
    const char *length = strcasestr(client->answer, "\r\nContent-Length:");
    if (strncmp(client->answer, "HTTP/1.1 200", 12) || !length || length > end) return -1;
    long size = end + 4 - client->answer + atol(length + 17);
    return size < ROOM ? size : -1;
}

static void finish(struct client *client, int is_good) {
    if (is_good) latency_us[answered++] = (now_ns() - client->due) / 1000;
    if (!is_good || strcasestr(client->answer, "\r\nConnection: close")) reopen(client);
    release(client);
}

static void read_answer(struct client *client) {
    ssize_t got = recv(client->fd, client->answer + client->filled, ROOM - 1 - client->filled, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (!client->due) {
        /* the other side tidies up its idle connections */
        reopen(client);
        return;
    }
    if (got <= 0) {
        finish(client, 0);
        return;
    }
    client->filled += got;
    client->answer[client->filled] = 0;
    long size = answer_size(client);
    if (size < 0 || (size > 0 && (long)client->filled >= size)) finish(client, size > 0);
}

static void await(int64_t until) {
    struct epoll_event events[EVENTS];
    int64_t left = until - now_ns();
    if (left < 0) left = 0;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    int count = epoll_pwait2(poller, events, EVENTS, &timeout, NULL);
    for (int number = 0; number < count; number++) read_answer(events[number].data.ptr);
}

/* Returns how many requests there were in the end. */
static long run(long total, long connections) {
    int64_t start = now_ns() + 1000000, last = start + due_at[total - 1];
    long next = 0;
    while ((next < total || idle_count < connections) && now_ns() < last + PATIENCE_NS) {
        while (next < total && idle_count && start + due_at[next] <= now_ns()) {
            ask(idle[--idle_count], start + due_at[next]);
            next++;
        }
        if (is_over && next < total) {
            total = next;
            last = now_ns();
        }
        await(next < total && idle_count ? start + due_at[next] : last + PATIENCE_NS);
    }
    return total;
}

static int ascending(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static uint32_t percentile(double share) {
    long rank = (long)ceil(share * answered) - 1;
    return answered ? latency_us[rank < 0 ? 0 : rank] : 0;
}

static void report(long total) {
    qsort(latency_us, answered, sizeof *latency_us, ascending);
    printf("{\"due\": %ld, \"requests\": %ld, \"failed\": %ld, ", total, answered, total - answered);
    printf("\"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, ", percentile(0.5), percentile(0.9), percentile(0.99));
    printf("\"p999_us\": %u, \"max_us\": %u}\n", percentile(0.999), percentile(1));
}

int main(int count, char **words) {
    if (count != 6) {
        fprintf(stderr, "usage: %s PORT PATH RATE SECONDS CONNECTIONS\n", words[0]);
        return 64;
    }
    double rate = atof(words[3]);
    long total = (long)(rate * atof(words[4])), connections = atol(words[5]);
    if (total < 1 || connections < 1) return 64;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request_size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", words[2]);
    prctl(PR_SET_TIMERSLACK, 1);
    signal(SIGTERM, end);
    poller = epoll_create1(EPOLL_CLOEXEC);
    idle = malloc(connections * sizeof *idle);
    for (long number = 0; number < connections; number++) {
        struct client *client = calloc(1, sizeof *client);
        open_client(client);
        release(client);
    }
    plan(total, rate);
    report(run(total, connections));
    return 0;
}
