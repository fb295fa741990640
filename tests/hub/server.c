/* server.c -- hub_server DIR [options]: a Hub for tests, on 127.0.0.1, that checks every byte it is given.
 *
 *   --port-file F   write the port there when it listens
 *   --log F         a line a request: METHOD PATH STATUS BYTES, and LEAK when a token went to the wrong host
 *   --part N        objects above N bytes go in parts of N bytes (default 1048576)
 *   --token T, --reader T   tokens that may write, and only read
 *   --repo R=DIR    a repository that is there already
 *   --fault KIND:COUNT:METHOD:PART   the next COUNT requests of that method whose path holds PART go wrong
 *   --cdn           large files come from another host name
 */
#include "server.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;

Fault *fault_due(Server *s, const char *method, const char *path) {
    for (size_t i = 0; i < s->n_faults; i++) {
        Fault *f = &s->faults[i];
        if (f->left <= 0 || strcmp(f->method, method) != 0 || !strstr(path, f->part)) continue;
        f->left--;
        return f;
    }
    return NULL;
}

size_t base64_decode(const char *text, unsigned char *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0, length = strlen(text);
    if (length % 4) return SIZE_MAX;
    for (size_t i = 0; i < length; i += 4) {
        unsigned v = 0, pad = 0;
        for (size_t k = 0; k < 4; k++) {
            const char *d = text[i + k] == '=' ? NULL : strchr(digits, text[i + k]);
            if (!d && (text[i + k] != '=' || i + 4 != length || k < 2)) return SIZE_MAX;
            if (d && pad) return SIZE_MAX;
            pad += !d;
            v = v << 6 | (d ? (unsigned)(d - digits) : 0);
        }
        out[n++] = (unsigned char)(v >> 16);
        if (pad < 2) out[n++] = (unsigned char)(v >> 8);
        if (pad < 1) out[n++] = (unsigned char)v;
    }
    return n;
}

void reply_json(Reply *out, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    out->status = status;
    buffer_clear(&out->body);
    buffer_vprintf(&out->body, format, args);
    va_end(args);
}

/* ---- reading ---- */

typedef struct Connection {
    Server *s;
    int fd;
    char in[65536];
    size_t begin, end;
} Connection;

static bool fill(Connection *c) {
    if (c->begin == c->end) c->begin = c->end = 0;
    ssize_t n = recv(c->fd, c->in + c->end, sizeof c->in - c->end, 0);
    if (n <= 0) return false;
    c->end += (size_t)n;
    return true;
}

static bool read_line(Connection *c, char *line, size_t size) {
    size_t n = 0;
    for (;;) {
        if (c->begin == c->end && !fill(c)) return false;
        char ch = c->in[c->begin++];
        if (ch == '\n') break;
        if (n + 1 >= size) return false;
        line[n++] = ch;
    }
    if (n && line[n - 1] == '\r') n--;
    line[n] = '\0';
    return true;
}

static void take(const char *line, const char *name, char *out, size_t size) {
    size_t n = strlen(name);
    if (strncasecmp(line, name, n) != 0 || line[n] != ':') return;
    const char *v = line + n + 1;
    while (*v == ' ') v++;
    snprintf(out, size, "%s", v);
}

static void decode_path(Request *r) {
    size_t n = 0;
    for (const char *p = r->target; *p && *p != '?' && n + 1 < sizeof r->path; p++) {
        unsigned v;
        if (*p == '%' && sscanf(p + 1, "%2x", &v) == 1) {
            r->path[n++] = (char)v;
            p += 2;
        } else {
            r->path[n++] = *p;
        }
    }
    r->path[n] = '\0';
}

static bool read_head(Connection *c, Request *r) {
    char line[16600], version[16], length[32] = "0";
    if (!read_line(c, line, sizeof line) ||
        sscanf(line, "%15s %16383s %15s", r->method, r->target, version) != 3)
        return false;
    while (read_line(c, line, sizeof line) && line[0]) {
        take(line, "Host", r->host, sizeof r->host);
        take(line, "Authorization", r->authorization, sizeof r->authorization);
        take(line, "Content-Type", r->content_type, sizeof r->content_type);
        take(line, "Accept", r->accept, sizeof r->accept);
        take(line, "Range", r->range, sizeof r->range);
        take(line, "Content-Length", length, sizeof length);
    }
    r->length = (size_t)strtoull(length, NULL, 10);
    decode_path(r);
    return r->length <= (size_t)1 << 31;
}

/* At most `limit` bytes of the body. */
static bool read_body(Connection *c, Request *r, size_t limit) {
    r->body = malloc(r->length + 1);
    size_t n = 0, want = r->length < limit ? r->length : limit;
    while (r->body && n < want) {
        if (c->begin == c->end && !fill(c)) return false;
        size_t some = c->end - c->begin < want - n ? c->end - c->begin : want - n;
        memcpy(r->body + n, c->in + c->begin, some);
        c->begin += some;
        n += some;
    }
    if (r->body) r->body[n] = '\0';
    return r->body != NULL;
}

/* ---- answering ---- */

static bool send_all(int fd, const void *bytes, size_t n) {
    for (const char *p = bytes; n;) {
        ssize_t some = send(fd, p, n, MSG_NOSIGNAL);
        if (some <= 0) return false;
        p += some;
        n -= (size_t)some;
    }
    return true;
}

static bool send_reply(Connection *c, const Request *r, Reply *reply) {
    Buffer head;
    buffer_init(&head, NULL);
    buffer_printf(&head, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nContent-Type: application/json\r\n",
                  reply->status, reply->body.length);
    buffer_append(&head, buffer_string(&reply->headers), reply->headers.length);
    buffer_text(&head, "\r\n");
    bool ok = send_all(c->fd, head.data, head.length);
    if (ok && strcmp(r->method, "HEAD") != 0)
        ok = send_all(c->fd, buffer_string(&reply->body), reply->body.length);
    buffer_free(&head);
    return ok;
}

/* The token is for the API's host; whoever sends it elsewhere has given it away. */
static bool leaks(const Server *s, const Request *r) {
    char own[32];
    snprintf(own, sizeof own, "127.0.0.1:%d", s->port);
    return r->authorization[0] && strcmp(r->host, own) != 0;
}

static void answer(Connection *c, Request *r, const Fault *f, Reply *reply) {
    bool leak = leaks(c->s, r);
    if (f && isdigit((unsigned char)f->kind[0])) {
        reply_json(reply, atoi(f->kind), "{\"error\":\"injected\"}");
        if (reply->status == 429) buffer_text(&reply->headers, "Retry-After: 0\r\n");
    } else {
        if (f && !strcmp(f->kind, "move")) hub_move(c->s);
        hub_answer(c->s, r, reply);
        if (f && !strcmp(f->kind, "lost")) reply->drop = true;
    }
    if (log_file) {
        fprintf(log_file, "%s %s %d %zu%s%s\n", r->method, r->path, reply->status, r->length,
                leak ? " LEAK" : "", reply->drop ? " lost" : "");
        fflush(log_file);
    }
}

static bool serve_one(Connection *c) {
    Request *r = calloc(1, sizeof *r);
    Reply reply = {.status = 500};
    bool go_on = r && read_head(c, r);
    if (!go_on) {
        free(r);
        return false;
    }
    pthread_mutex_lock(&lock);
    Fault *f = fault_due(c->s, r->method, r->path);
    pthread_mutex_unlock(&lock);
    bool drop = f && !strcmp(f->kind, "drop");
    if (f && !strcmp(f->kind, "slow")) usleep(40000);
    go_on = read_body(c, r, drop ? r->length / 2 : r->length) && !drop;
    if (go_on) {
        pthread_mutex_lock(&lock);
        answer(c, r, f, &reply);
        pthread_mutex_unlock(&lock);
        go_on = !reply.drop && send_reply(c, r, &reply);
    } else if (drop && log_file) {
        fprintf(log_file, "%s %s dropped\n", r->method, r->path);
        fflush(log_file);
    }
    buffer_free(&reply.body);
    buffer_free(&reply.headers);
    free(r->body);
    free(r);
    return go_on;
}

static void *serve(void *context) {
    Connection *c = context;
    while (serve_one(c)) {
    }
    close(c->fd);
    free(c);
    return NULL;
}

/* ---- options ---- */

static bool add_fault(Server *s, const char *spec) {
    Fault *f = &s->faults[s->n_faults];
    if (s->n_faults == 32 ||
        sscanf(spec, "%15[^:]:%d:%15[^:]:%127s", f->kind, &f->left, f->method, f->part) != 4)
        return false;
    s->n_faults++;
    return true;
}

static bool option(Server *s, const char *name, const char *value, const char **port_file) {
    if (!strcmp(name, "--port-file")) return (*port_file = value) != NULL;
    if (!strcmp(name, "--log")) return (log_file = fopen(value, "a")) != NULL;
    if (!strcmp(name, "--part")) return (s->part = strtoull(value, NULL, 10)) > 0;
    if (!strcmp(name, "--token")) return (s->token = value) != NULL;
    if (!strcmp(name, "--reader")) return (s->reader = value) != NULL;
    if (!strcmp(name, "--fault")) return add_fault(s, value);
    if (!strcmp(name, "--repo")) return hub_load(s, value) == 0;
    return false;
}

static int listen_on(Server *s) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 64) ||
        getsockname(fd, (struct sockaddr *)&a, &n))
        return -1;
    s->port = ntohs(a.sin_port);
    return fd;
}

int main(int argc, char **argv) {
    static Server s = {.part = 1 << 20, .token = "hf_writer", .reader = "hf_reader"};
    const char *port_file = NULL;
    signal(SIGPIPE, SIG_IGN);
    int fd = argc > 1 ? listen_on(&s) : -1;
    s.directory = argv[1];
    if (fd < 0 || hub_state_open(&s)) return 2;
    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--cdn")) {
            s.cdn = true;
        } else if (i + 1 == argc || !option(&s, argv[i], argv[i + 1], &port_file)) {
            fprintf(stderr, "hub_server: %s\n", argv[i]);
            return 2;
        } else {
            i++;
        }
    }
    FILE *f = port_file ? fopen(port_file, "w") : stdout;
    if (!f || fprintf(f, "%d\n", s.port) < 0 || (f != stdout ? fclose(f) : fflush(f))) return 2;
    for (;;) {
        Connection *c = calloc(1, sizeof *c);
        pthread_t thread;
        if (!c) return 2;
        c->s = &s;
        c->fd = accept(fd, NULL, NULL);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        if (c->fd < 0 || pthread_create(&thread, NULL, serve, c)) return 2;
        pthread_detach(thread);
    }
}
