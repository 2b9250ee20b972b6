/*
 * The floor: what a request costs when nobody runs Python. Speaks uwsgi on a Unix socket and gives every packet the same answer.
 *
 * Its five system calls are rusgi's: accept4, recv (a look), send, recv (the drain), close. They block, which is the
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
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HEADER = 4, PACKET = HEADER + 65535 };

static pthread_mutex_t accepting = PTHREAD_MUTEX_INITIALIZER;
static int listener;
static int threads;
/* head and body, one behind the other */
static char *answer;
static size_t head_size;
static size_t body_size;
static size_t chunks;
static size_t upload;
static useconds_t pause_us;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* A stream does not know its length beforehand. */
static size_t write_head(char *head, size_t room) {
    const char *start = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    if (chunks > 1) return snprintf(head, room, "%s\r\n", start);
    return snprintf(head, room, "%sContent-Length: %zu\r\n\r\n", start, body_size);
}

static void prepare_answer(const char *body_path) {
    char head[256];
    struct stat found;
    FILE *file = fopen(body_path, "r");
    if (!file || fstat(fileno(file), &found)) fail(body_path);
    body_size = found.st_size;
    head_size = write_head(head, sizeof head);
    answer = malloc(head_size + body_size);
    if (!answer || fread(answer + head_size, 1, body_size, file) != body_size) fail(body_path);
    memcpy(answer, head, head_size);
    fclose(file);
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
    if (send(peer, answer, head_size + size, MSG_NOSIGNAL) < 0) return;
    for (size_t chunk = 1; chunk < chunks; chunk++)
        if (send(peer, answer + head_size + chunk * size, size, MSG_NOSIGNAL) < 0) return;
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
    chunks = atol(words[6]);
    upload = atol(words[7]);
    pause_us = atol(words[8]);
    prepare_answer(words[5]);
    bind_to(words[1], atoi(words[2]));
    for (int number = 0; number < atoi(words[3]); number++)
        if (fork() == 0) run_worker();
    while (wait(NULL) > 0) {}
    return 0;
}
