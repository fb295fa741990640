/* hub_url.c -- names and URLs of the Hub. */
#include "packager/hub.h"
#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

void hub_encode(Buffer *b, const char *text, bool path) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
                     strchr("-._~", *p) || (path && *p == '/');
        if (plain)
            buffer_char(b, (char)*p);
        else
            buffer_printf(b, "%%%02X", *p);
    }
}

bool hub_is_repo(const char *repo) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const char *slash = strchr(repo, '/');
    if (!slash) return false;
    size_t user = (size_t)(slash - repo), name = strlen(slash + 1);
    if (!user || !name || user > 96 || name > 96) return false;
    if (strspn(repo, allowed) != user || strspn(slash + 1, allowed) != name) return false;
    return !strchr(".-", repo[0]) && !strchr(".-", slash[1]);
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part, unsigned flags) {
    char *x = NULL, *y = NULL;
    bool same = !curl_url_get(a, part, &x, flags) && !curl_url_get(b, part, &y, flags) && !strcmp(x, y);
    curl_free(x);
    curl_free(y);
    return same;
}

bool hub_same_origin(const char *a, const char *b) {
    CURLU *x = curl_url(), *y = curl_url();
    bool same = x && y && !curl_url_set(x, CURLUPART_URL, a, 0) && !curl_url_set(y, CURLUPART_URL, b, 0) &&
                same_part(x, y, CURLUPART_SCHEME, 0) && same_part(x, y, CURLUPART_HOST, 0) &&
                same_part(x, y, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

bool hub_gives_up_tls(const char *from, const char *to) {
    return !strncasecmp(from, "https:", 6) && strncasecmp(to, "https:", 6) != 0;
}
