/*
 * The floor: what a request costs when nobody runs Python. Speaks uwsgi on a Unix socket and gives every packet the same answer.
 *
 * Its five system calls are rusgi's: accept4, recv (a look), sendmsg, recv (the drain), close. They block, which is the
 * cheapest way to wait. Threads accept one at a time, behind a mutex that lets a running thread overtake those that wait.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER = 4, PACKET = HEADER + 65535 };

static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;
static int listener;
static int threads;
static char head[256];
static size_t head_size;
static char *body;
static size_t body_size;
static size_t chunks;
static size_t upload;
static useconds_t pause_us;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void load_body(const char *path) {
    struct stat found;
    FILE *file = fopen(path, "r");
    if (!file || fstat(fileno(file), &found)) fail(path);
    body_size = found.st_size;
    body = malloc(body_size);
    if (!body || fread(body, 1, body_size, file) != body_size) fail(path);
    fclose(file);
}

/* A stream does not know its length beforehand. */
static void write_head(void) {
    const char *start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    if (chunks > 1)
        head_size = snprintf(head, sizeof head, "%s\r\n", start);
    else
        head_size = snprintf(head, sizeof head, "%sContent-Length: %zu\r\n\r\n", start, body_size);
}

static void bind_to(const char *path, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, backlog)) fail(path);
}

static int accept_one(void) {
    if (threads > 1) pthread_mutex_lock(&accepting);
    int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (threads > 1) pthread_mutex_unlock(&accepting);
    return peer;
}

static size_t packet_size(const unsigned char *packet) {
    return HEADER + packet[1] + 256 * (size_t)packet[2];
}

/* Looks until the head is whole; 0 when the peer has left. */
static size_t look(int peer, unsigned char *packet) {
    for (;;) {
        ssize_t seen = recv(peer, packet, PACKET, MSG_PEEK);
        if (seen <= 0) return 0;
        if (seen >= HEADER && (size_t)seen >= packet_size(packet)) return packet_size(packet);
    }
}

static int read_all(int peer, unsigned char *packet, size_t left) {
    while (left) {
        ssize_t got = recv(peer, packet, left < PACKET ? left : PACKET, 0);
        if (got <= 0) return -1;
        left -= got;
    }
    return 0;
}

static void respond(int peer) {
    size_t size = body_size / chunks;
    struct iovec parts[] = {{head, head_size}, {body, size}};
    struct msghdr first = {.msg_iov = parts, .msg_iovlen = 2};
    if (sendmsg(peer, &first, MSG_NOSIGNAL) < 0) return;
    for (size_t chunk = 1; chunk < chunks; chunk++)
        if (send(peer, body + chunk * size, size, MSG_NOSIGNAL) < 0) return;
}

static void *serve(void *unused) {
    unsigned char *packet = malloc(PACKET);
    for (;;) {
        int peer = accept_one();
        if (peer < 0) continue;
        size_t size = look(peer, packet);
        if (size && (!upload || read_all(peer, packet, size + upload) == 0)) {
            if (pause_us) usleep(pause_us);
            respond(peer);
            if (!upload) recv(peer, packet, PACKET, 0);
        }
        close(peer);
    }
    return unused;
}

static void run_worker(void) {
    pthread_t thread;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int number = 1; number < threads; number++)
        if (pthread_create(&thread, NULL, serve, NULL)) fail("pthread_create");
    serve(NULL);
}

int main(int count, char **words) {
    if (count != 9) {
        fprintf(stderr, "usage: %s SOCKET BACKLOG PROCESSES THREADS BODY_FILE CHUNKS UPLOAD_BYTES PAUSE_US\n", words[0]);
        return 64;
    }
    threads = atoi(words[4]);
    load_body(words[5]);
    chunks = atol(words[6]);
    upload = atol(words[7]);
    pause_us = atol(words[8]);
    write_head();
    bind_to(words[1], atoi(words[2]));
    for (int number = 0; number < atoi(words[3]); number++)
        if (fork() == 0) run_worker();
    while (wait(NULL) > 0) {}
    return 0;
}
