/* hub_http.c -- one request: retries, redirects, headers. See hub.h. */
#include "core/json.h"
#include "core/process.h"
#include "packager/hub.h"
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    ANSWER_LIMIT = 256 << 20,
    MOST_REDIRECTS = 5,
    CONNECT_SECONDS = 30,
    STALL_SECONDS = 60, /* without a byte in either direction */
    LONGEST_WAIT = 600,
};

struct Hub {
    char *endpoint, *authorization; /* "Authorization: Bearer ..."; NULL: no token */
    double wait;
    int (*tick)(void *context);
    void *tick_context;
    unsigned connections;
    CURL *handles[HUB_MOST_CONNECTIONS];
};

/* ---- opening ---- */

static char *printed(const char *format, const char *text, size_t length) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(&b, format, (int)length, text);
    if (b.failed) buffer_free(&b);
    return b.data;
}

/* What stands in a header must not end it. */
static bool token_is_plain(const char *token) {
    for (const char *p = token; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f) return false;
    return *token;
}

/* It is shown in messages and on the last line of a run. */
static int check_endpoint(const char *endpoint, Error *err) {
    if (strpbrk(endpoint, "@?#"))
        return error_set(err, ERR_USAGE,
                         "the endpoint (HF_ENDPOINT) has a user, a password or a query in it; it is a plain "
                         "URL, and the token of HF_TOKEN is what gives rights");
    if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
        return error_set(err, ERR_USAGE, "the endpoint %s is not an http or https URL", endpoint);
    return 0;
}

int hub_open(Hub **out, const HubOptions *options, Error *err) {
    const char *endpoint = options->endpoint ? options->endpoint : "https://huggingface.co";
    size_t length = strlen(endpoint);
    *out = NULL;
    while (length && endpoint[length - 1] == '/') length--;
    TRY(check_endpoint(endpoint, err));
    if (options->token && !token_is_plain(options->token))
        return error_set(err, ERR_FORMAT, "the token holds blanks or other characters that no token has");
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return error_set(err, ERR_IO, "libcurl can't be initialised");
    Hub *hub = mem_alloc(NULL, sizeof *hub);
    if (!hub) return error_memory(err, "a connection to the Hub");
    *hub = (Hub){.wait = options->wait > 0 ? options->wait : 1};
    hub->connections = options->connections ? options->connections : 1;
    if (hub->connections > HUB_MOST_CONNECTIONS) hub->connections = HUB_MOST_CONNECTIONS;
    hub->endpoint = printed("%.*s", endpoint, length);
    if (options->token)
        hub->authorization = printed("Authorization: Bearer %.*s", options->token, strlen(options->token));
    if (!hub->endpoint || (options->token && !hub->authorization)) {
        hub_close(hub);
        return error_memory(err, "a connection to the Hub");
    }
    *out = hub;
    return 0;
}

void hub_close(Hub *hub) {
    if (!hub) return;
    for (unsigned i = 0; i < hub->connections; i++) curl_easy_cleanup(hub->handles[i]);
    mem_free(NULL, hub->endpoint);
    mem_free(NULL, hub->authorization);
    mem_free(NULL, hub);
}

const char *hub_endpoint(const Hub *hub) {
    return hub->endpoint;
}

void hub_on_tick(Hub *hub, int (*tick)(void *context), void *context) {
    hub->tick = tick;
    hub->tick_context = context;
}

bool hub_has_token(const Hub *hub) {
    return hub->authorization != NULL;
}

unsigned hub_connections(const Hub *hub) {
    return hub->connections;
}

void hub_answer_free(HubAnswer *a) {
    buffer_free(&a->body);
    memset(a, 0, sizeof *a);
}

/* ---- what libcurl calls ---- */

typedef struct Transfer {
    Hub *hub;
    const HubRequest *r;
    HubAnswer *a;
    uint64_t at;      /* bytes of the body read so far */
    long retry_after; /* seconds; -1: not said */
    long rate_limit;
    bool too_large;
    int stopped; /* an error that a callback met */
    Error *err;
} Transfer;

static size_t read_body(char *to, size_t size, size_t count, void *context) {
    Transfer *t = context;
    uint64_t left = t->r->size - t->at;
    size_t n = left < size * count ? (size_t)left : size * count;
    if (n == 0) return 0;
    t->stopped = input_read(t->r->file, t->r->offset + t->at, to, n, t->err);
    if (t->stopped) return CURL_READFUNC_ABORT;
    t->at += n;
    if (t->r->sent) *t->r->sent += n;
    return n;
}

static int seek_body(void *context, curl_off_t offset, int origin) {
    Transfer *t = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->r->size) return CURL_SEEKFUNC_FAIL;
    if (t->r->sent) *t->r->sent += (uint64_t)offset - t->at;
    t->at = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t write_answer(char *bytes, size_t size, size_t count, void *context) {
    Transfer *t = context;
    size_t n = size * count;
    if (n > ANSWER_LIMIT - t->a->body.length) {
        t->too_large = true;
        return 0;
    }
    buffer_append(&t->a->body, bytes, n);
    return t->a->body.failed ? 0 : n;
}

static int look_around(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    Transfer *t = context;
    (void)a, (void)b, (void)c, (void)d;
    if (t->hub->tick && t->hub->tick(t->hub->tick_context)) return 1;
    return process_interrupted();
}

/* If `line` is the header `name`, its value without blanks around it, in buf. */
static bool header_is(const char *line, size_t length, const char *name, char *buf, size_t size) {
    size_t n = strlen(name);
    if (length <= n || strncasecmp(line, name, n) != 0 || line[n] != ':') return false;
    for (line += n + 1, length -= n + 1; length && (*line == ' ' || *line == '\t');) line++, length--;
    while (length && (unsigned char)line[length - 1] <= ' ') length--;
    if (length >= size) return false;
    memcpy(buf, line, length);
    buf[length] = '\0';
    return true;
}

static long seconds_until(const char *value) {
    if (*value >= '0' && *value <= '9') return strtol(value, NULL, 10);
    time_t when = curl_getdate(value, NULL);
    time_t now = time(NULL);
    return when < 0 ? -1 : when > now ? (long)(when - now) : 0;
}

/* <https://...>; rel="next" */
static void find_next(HubAnswer *a, const char *link) {
    const char *begin = strchr(link, '<'), *end = begin ? strchr(begin, '>') : NULL;
    if (!end || !strstr(end, "rel=\"next\"") || (size_t)(end - begin) > sizeof a->next) return;
    memcpy(a->next, begin + 1, (size_t)(end - begin - 1));
    a->next[end - begin - 1] = '\0';
}

static size_t read_header(char *line, size_t size, size_t count, void *context) {
    Transfer *t = context;
    HubAnswer *a = t->a;
    size_t n = size * count;
    char value[1100];
    if (n > 5 && !strncmp(line, "HTTP/", 5)) { /* a new answer: what an interim one said is void */
        a->etag[0] = a->error_code[0] = a->error_message[0] = a->next[0] = '\0';
        a->total = 0;
        t->retry_after = t->rate_limit = -1;
    }
    header_is(line, n, "ETag", a->etag, sizeof a->etag);
    header_is(line, n, "X-Error-Code", a->error_code, sizeof a->error_code);
    header_is(line, n, "X-Error-Message", a->error_message, sizeof a->error_message);
    if (header_is(line, n, "Retry-After", value, sizeof value)) t->retry_after = seconds_until(value);
    if (header_is(line, n, "Link", value, sizeof value)) find_next(a, value);
    if (header_is(line, n, "RateLimit", value, sizeof value) && strstr(value, "t="))
        t->rate_limit = strtol(strstr(value, "t=") + 2, NULL, 10) + 1;
    if (header_is(line, n, "Content-Range", value, sizeof value) && strchr(value, '/'))
        a->total = strtoull(strchr(value, '/') + 1, NULL, 10);
    return n;
}

/* ---- one try ---- */

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value, bool *ok) {
    char *line = printed(name, value, strlen(value));
    struct curl_slist *longer = line ? curl_slist_append(list, line) : NULL;
    mem_free(NULL, line);
    if (!longer) *ok = false;
    return longer ? longer : list;
}

static struct curl_slist *headers(const Hub *hub, const HubRequest *r, const char *url, bool *ok) {
    struct curl_slist *list = add_header(NULL, "%.*s", "Expect:", ok); /* no round trip before a body */
    if (r->content_type) list = add_header(list, "Content-Type: %.*s", r->content_type, ok);
    if (r->accept) list = add_header(list, "Accept: %.*s", r->accept, ok);
    /* it may be a right: the server that a redirect names did not get it from us */
    const char *first = r->url[0] == '/' ? hub->endpoint : r->url;
    if (r->header && hub_same_origin(url, first)) list = add_header(list, "%.*s", r->header, ok);
    if (r->authorize && hub->authorization && hub_same_origin(url, hub->endpoint))
        list = add_header(list, "%.*s", hub->authorization, ok);
    return list;
}

static void set_body(CURL *c, const HubRequest *r, Transfer *t) {
    bool put = !strcmp(r->method, "PUT");
    if (put || r->file) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_READFUNCTION, read_body);
        curl_easy_setopt(c, CURLOPT_READDATA, t);
        curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, seek_body);
        curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->size);
    } else if (!strcmp(r->method, "HEAD")) {
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    } else if (!strcmp(r->method, "POST")) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(r->body ? r->length : 0));
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, r->body ? r->body : "");
    }
}

static void set_common(CURL *c, const char *url, struct curl_slist *list, Transfer *t) {
    curl_easy_reset(c); /* keeps its connections */
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "recast/" RECAST_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, read_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look_around);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
}

/* Where an answer sends us; "" if nowhere. Only a request that is safe to repeat elsewhere goes. */
static void redirect(CURL *c, const HubRequest *r, long status, const char *from, char *to, size_t size) {
    char *url = NULL;
    bool reading = !strcmp(r->method, "GET") || !strcmp(r->method, "HEAD");
    *to = '\0';
    if (status != 307 && status != 308 && !(reading && status >= 301 && status <= 303)) return;
    if (curl_easy_getinfo(c, CURLINFO_REDIRECT_URL, &url) || !url || strlen(url) >= size) return;
    if (hub_gives_up_tls(from, url)) return;
    memcpy(to, url, strlen(url) + 1);
}

static int one_try(Transfer *t, const char *url, char *onward, size_t size, CURLcode *result) {
    CURL **c = &t->hub->handles[t->r->connection];
    bool ok = true;
    if (!*c) *c = curl_easy_init();
    struct curl_slist *list = headers(t->hub, t->r, url, &ok);
    if (!*c || !ok) {
        curl_slist_free_all(list);
        return error_memory(t->err, "a request");
    }
    hub_answer_free(t->a);
    t->at = 0;
    t->retry_after = t->rate_limit = -1;
    set_common(*c, url, list, t);
    /* On a kept connection that turns out to be dead libcurl sends again by itself, a POST too. */
    if (t->r->once) curl_easy_setopt(*c, CURLOPT_FRESH_CONNECT, 1L);
    if (t->r->range) curl_easy_setopt(*c, CURLOPT_RANGE, t->r->range);
    set_body(*c, t->r, t);
    *result = curl_easy_perform(*c);
    curl_easy_getinfo(*c, CURLINFO_RESPONSE_CODE, &t->a->status);
    redirect(*c, t->r, t->a->status, url, onward, size);
    curl_slist_free_all(list);
    return 0;
}

/* ---- retries ---- */

static int interrupted(Error *err) {
    return error_set(err, ERR_INTERRUPTED, "interrupted; the same command goes on where it was");
}

static int wait_for(double seconds, Error *err) {
    for (double waited = 0; waited < seconds; waited += 0.05) {
        if (process_interrupted()) return interrupted(err);
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
    }
    return process_interrupted() ? interrupted(err) : 0;
}

static double usual_wait(const Hub *hub, unsigned tries) {
    static const double steps[] = {1, 2, 4, 8, 8};
    return hub->wait * steps[tries < 5 ? tries : 4];
}

int hub_pause(const Hub *hub, unsigned tries, Error *err) {
    return wait_for(usual_wait(hub, tries), err);
}

static double pause_before(const Transfer *t, unsigned tries) {
    double seconds = usual_wait(t->hub, tries);
    if (t->retry_after >= 0) seconds = (double)t->retry_after;
    if (t->a->status == 429 && t->rate_limit >= 0) seconds = (double)t->rate_limit;
    return seconds > LONGEST_WAIT ? LONGEST_WAIT : seconds;
}

static bool worth_another(CURLcode result, long status) {
    switch (result) {
    case CURLE_OK: return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
    }
}

/* What may be shown of a URL: host, and path without the query. "/..." is a path. */
typedef struct ShownUrl {
    const char *host, *path;
    int host_length, length;
} ShownUrl;

static ShownUrl shown_url(const char *url) {
    const char *p = strstr(url, "://");
    ShownUrl s = {.host = url};
    if (url[0] != '/') {
        s.host = p ? p + 3 : url;
        s.host_length = (int)strcspn(s.host, "/?#");
    }
    s.path = s.host + s.host_length;
    s.length = (int)strcspn(s.path, "?#");
    for (int i = 0; i < s.host_length; i++) /* user:password@ */
        if (s.host[i] == '@') s.host += i + 1, s.host_length -= i + 1, i = -1;
    return s;
}

static int no_answer(const Transfer *t, const char *url, CURLcode result) {
    if (t->stopped) return t->stopped;
    if (process_interrupted() || result == CURLE_ABORTED_BY_CALLBACK) return interrupted(t->err);
    if (t->a->body.failed) return error_memory(t->err, "an answer");
    ShownUrl s = shown_url(url);
    if (t->too_large)
        return error_set(t->err, ERR_LIMIT, "%s %.*s: %.*s answers with more than 256 MiB", t->r->method,
                         s.length, s.path, s.host_length, s.host);
    return error_set(t->err, ERR_IO, "%s %.*s: no answer from %.*s (%s)", t->r->method, s.length, s.path,
                     s.host_length, s.host, curl_easy_strerror(result));
}

int hub_send(Hub *hub, const HubRequest *r, HubAnswer *a, Error *err) {
    Transfer t = {.hub = hub, .r = r, .a = a, .err = err};
    char url[8192], onward[8192];
    int n = snprintf(url, sizeof url, "%s%s", r->url[0] == '/' ? hub->endpoint : "", r->url);
    if (n < 0 || (size_t)n >= sizeof url) return error_set(err, ERR_LIMIT, "a URL of more than 8191 bytes");
    for (unsigned tries = 0, redirects = 0;;) {
        CURLcode result = CURLE_OK;
        TRY(one_try(&t, url, onward, sizeof onward, &result));
        a->tries = tries + 1;
        if (result == CURLE_OK && onward[0] && redirects++ < MOST_REDIRECTS) {
            memcpy(url, onward, sizeof url);
            if (r->sent) *r->sent -= t.at;
            continue;
        }
        bool fine = result == CURLE_OK && a->status >= 200 && a->status < 300;
        if (r->sent && !fine) *r->sent -= t.at;
        bool again = !t.stopped && worth_another(result, a->status) && !process_interrupted();
        if (r->once && again && result != CURLE_OK) {
            a->status = 0;
            snprintf(a->lost, sizeof a->lost, "%s", curl_easy_strerror(result));
            return 0;
        }
        if (r->once && a->status != 429) again = false;
        if (!again || tries == HUB_RETRIES) return result == CURLE_OK ? 0 : no_answer(&t, url, result);
        TRY(wait_for(pause_before(&t, tries++), err));
    }
}

/* ---- answers that are no ---- */

/* A store may repeat the URL that it refuses: of each URL in the text only scheme, host and path are left. */
static void cut_urls(char *text) {
    for (char *at = text; (at = strstr(at, "://"));) {
        char *host = at + 3, *end = host + strcspn(host, " \t\r\n\"'<>"), *from = host;
        for (char *p = host; p < host + strcspn(host, "/?# \t\r\n\"'<>"); p++)
            if (*p == '@') from = p + 1;
        char *query = from + strcspn(from, "?#");
        if (query > end) query = end;
        memmove(query, end, strlen(end) + 1);
        memmove(host, from, strlen(from) + 1);
        at = host;
    }
}

/* The reason that came with an answer: a header, or "error" or "message" of a JSON body; never the token. */
static void reason(const Hub *hub, const HubAnswer *a, char out[300]) {
    cJSON *json = NULL;
    const char *text = a->error_message;
    if (!*text && a->body.length && !json_parse(&json, a->body.data, a->body.length, "answer", NULL)) {
        const cJSON *error = json_get(json, "error");
        if (!error) error = json_get(json, "message");
        if (cJSON_IsString(error)) text = error->valuestring;
    }
    snprintf(out, 300, "%s", text);
    cut_urls(out);
    if (hub->authorization && strstr(out, hub->authorization + strlen("Authorization: Bearer ")))
        out[0] = '\0';
    cJSON_Delete(json);
}

int hub_refused(const Hub *hub, const HubRequest *r, const HubAnswer *a, Error *err) {
    const char *advice = "";
    char why[300];
    ShownUrl s = shown_url(r->url);
    reason(hub, a, why);
    if (!r->authorize)
        advice = "";
    else if (a->status == 401)
        advice = hub->authorization ? "; the token is wrong or has expired: huggingface.co/settings/tokens"
                                    : "; a token is needed (HF_TOKEN, or `hf auth login`)";
    else if (a->status == 403)
        advice = "; the token lacks the right to do this (it must be one that may write here)";
    else if (a->status == 404 && !hub->authorization)
        advice = "; it does not exist, or only for those who have a token";
    return error_set(err, ERR_IO, "%s %.*s: the Hub answers %ld%s%s%s%s", r->method, s.length, s.path,
                     a->status, *why ? " (" : "", why, *why ? ")" : "", advice);
}

int hub_parse(const HubRequest *r, const HubAnswer *a, cJSON **out, Error *err) {
    char name[512];
    ShownUrl s = shown_url(r->url);
    snprintf(name, sizeof name, "%.*s", s.length, s.path);
    return json_parse(out, buffer_string(&a->body), a->body.length, name, err);
}

int hub_json(Hub *hub, const char *method, const char *url, const char *body, cJSON **out, Error *err) {
    HubRequest r = {.method = method,
                    .url = url,
                    .authorize = true,
                    .content_type = body ? "application/json" : NULL,
                    .body = body,
                    .length = body ? strlen(body) : 0};
    HubAnswer a = {0};
    int code = hub_send(hub, &r, &a, err);
    if (!code && (a.status < 200 || a.status > 299)) code = hub_refused(hub, &r, &a, err);
    if (!code && out) code = hub_parse(&r, &a, out, err);
    hub_answer_free(&a);
    return code;
}
