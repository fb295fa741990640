/* hub.h -- talking to the Hugging Face Hub (or a mirror of it): one HTTP request with retries, through
 * libcurl.
 *
 * The token goes to the endpoint's own scheme, host and port and nowhere else: redirects are followed here,
 * not by libcurl, and a step to another origin is made without it. No message holds the token or the query of
 * a URL (presigned URLs carry their right there). Calls and status codes: huggingface.co/docs/hub/api. */
#ifndef RECAST_PACKAGER_HUB_H
#define RECAST_PACKAGER_HUB_H

#include "core/input.h"
#include <cjson/cJSON.h>
#include <stdatomic.h>

enum { HUB_MOST_CONNECTIONS = 32, HUB_RETRIES = 5 };

typedef struct HubOptions {
    const char *endpoint; /* "https://huggingface.co"; NULL: that. A '/' at its end is dropped */
    const char *token;    /* NULL: none */
    double wait;          /* seconds before the first retry; then 2, 4, 8, 8 times that. 0: 1 second */
    unsigned connections; /* that may be used at once, 1 .. HUB_MOST_CONNECTIONS */
} HubOptions;

typedef struct Hub Hub;
/* Errors: ERR_USAGE (not an http or https URL, or one with a user, a password or a query), ERR_FORMAT (a
 * token that can't stand in a header), ERR_MEMORY. Caller closes. */
int hub_open(Hub **out, const HubOptions *options, Error *err) MUST_CHECK;
void hub_close(Hub *hub);                 /* NULL-safe */
const char *hub_endpoint(const Hub *hub); /* without '/' at its end; borrowed */
/* tick is called about once a second while a request runs, by any thread; non-zero stops it. */
void hub_on_tick(Hub *hub, int (*tick)(void *context), void *context);
bool hub_has_token(const Hub *hub);
unsigned hub_connections(const Hub *hub);

typedef struct HubRequest {
    unsigned connection;               /* 0 .. connections-1; each is used by one thread at a time */
    const char *method;                /* "GET", "HEAD", "POST", "PUT" */
    const char *url;                   /* absolute, or from the endpoint on: "/api/..." */
    bool authorize;                    /* send the token, if the URL is the endpoint's */
    bool once;                         /* no retry: the caller can't know whether a lost answer was a yes */
    const char *content_type, *accept; /* NULL: none */
    const char *header;                /* one more header line, NULL: none */
    const char *range;                 /* "0-1023": of a GET */
    const void *body;                  /* length bytes, or NULL */
    size_t length;
    const Input *file; /* else: the body is bytes offset .. offset+size of it */
    uint64_t offset, size;
    _Atomic uint64_t *sent; /* of a file: counts bytes as they go, less those of a try that failed; or NULL */
} HubRequest;

typedef struct HubAnswer {
    long status; /* of HTTP; 0: none came, `lost` says why */
    char lost[160];
    Buffer body;
    char etag[256];          /* as it came, quotes included; "" if absent */
    char error_code[64];     /* X-Error-Code: "RepoNotFound" */
    char error_message[256]; /* X-Error-Message */
    char next[1024];         /* Link: <...>; rel="next" */
    uint64_t total;          /* of Content-Range: bytes of the whole file; 0 if unknown */
    unsigned tries;          /* how often it was sent */
} HubAnswer;

void hub_answer_free(HubAnswer *a);
/* Sends and waits. 0 when an answer came, whatever its status, after at most HUB_RETRIES retries of lost
 * connections and of 408, 429, 500, 502, 503 and 504 (Retry-After and RateLimit are obeyed). With `once` a
 * lost connection is no error either: status is 0. Errors: ERR_IO (no answer), ERR_INTERRUPTED, ERR_MEMORY,
 * ERR_LIMIT (an answer above 256 MiB). `a` is to be zeroed or freed before, and freed after. */
int hub_send(Hub *hub, const HubRequest *r, HubAnswer *a, Error *err) MUST_CHECK;
/* Sleeps as before retry number `tries` (0: the first). Errors: ERR_INTERRUPTED. */
int hub_pause(const Hub *hub, unsigned tries, Error *err) MUST_CHECK;
/* "METHOD /path: the Hub answers 403 (reason)", with what to do for 401, 403 and 404. Returns ERR_IO. */
int hub_refused(const Hub *hub, const HubRequest *r, const HubAnswer *a, Error *err);
/* The JSON of an answer to r. ERR_FORMAT; the message shows as much of the URL as hub_refused. */
int hub_parse(const HubRequest *r, const HubAnswer *a, cJSON **out, Error *err) MUST_CHECK;
/* hub_send of JSON (body may be NULL) with the token; anything but 2xx is hub_refused. *out may be NULL. */
int hub_json(Hub *hub, const char *method, const char *url, const char *body, cJSON **out,
             Error *err) MUST_CHECK;

/* Appends text percent-encoded, with nothing but letters, digits and -._~ left alone (and '/' if `path`). */
void hub_encode(Buffer *b, const char *text, bool path);
/* "user/name": one slash, letters, digits, '-', '_', '.', neither part empty nor beginning with '.' or '-'.
 */
bool hub_is_repo(const char *repo);
/* Do both URLs have the same scheme, host and port? */
bool hub_same_origin(const char *a, const char *b);
/* Would what follows https go without it? Nothing does: neither a redirect nor an upload. */
bool hub_gives_up_tls(const char *from, const char *to);

#endif
