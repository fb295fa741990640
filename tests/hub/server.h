/* server.h -- a small HTTP/1.1 server for tests, and what a request is. */
#ifndef RECAST_TESTS_HUB_SERVER_H
#define RECAST_TESTS_HUB_SERVER_H

#include "core/json.h"
#include "core/sha256.h"

typedef struct Request {
    char method[16];
    char target[16384]; /* path and query, as sent */
    char path[8192];    /* without the query, percent-decoded */
    char host[256], authorization[4200], content_type[128], accept[128], range[64];
    char *body; /* length bytes and a NUL */
    size_t length;
} Request;

typedef struct Reply {
    int status;
    Buffer headers; /* more header lines, each with \r\n */
    Buffer body;
    bool drop; /* close the connection instead */
} Reply;

typedef struct Fault {
    char kind[16]; /* "429", "503", "403", "drop" (before the request is read whole), "lost" (after it was
                      obeyed), "move" (somebody commits before it), "slow" */
    int left;
    char method[16], part[128]; /* of the path */
} Fault;

typedef struct Hub Hub; /* hub.c */

typedef struct Server {
    int port;
    const char *token, *reader; /* may write; may only read */
    const char *directory;      /* of the state */
    uint64_t part;              /* bytes of a part */
    bool cdn;                   /* large files are served by another host */
    Fault faults[32];
    size_t n_faults;
    Hub *hub;
} Server;

/* Answers one request; called under one lock. */
void hub_answer(Server *s, const Request *r, Reply *out);
int hub_state_open(Server *s);
/* NAME=DIRECTORY: a repository with these files. */
int hub_load(Server *s, const char *spec);
/* Somebody else commits to every branch. */
void hub_move(Server *s);

/* The fault that is due for this request, used up; NULL if none. */
Fault *fault_due(Server *s, const char *method, const char *path);

size_t base64_decode(const char *text, unsigned char *out); /* SIZE_MAX if it is none */
void reply_json(Reply *out, int status, const char *format, ...) ERROR_PRINTF(3, 4);

#endif
