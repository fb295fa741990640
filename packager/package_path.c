/* package_path.c -- which paths a package may hold. A manifest comes from anywhere; a path that leaves the
 * package, or means something else on another system, is refused when it is read and when it is written. */
#include "core/utf8.h"
#include "packager/manifest_private.h"
#include <string.h>
#include <strings.h>

/* Of one part. Windows drops dots and blanks at the end of a name, and git runs programs that .git names. */
static const char *part_problem(const char *part, size_t n) {
    if (n == 0) return "has an empty part";
    if (n == 1 && part[0] == '.') return "has a part \".\"";
    if (n == 2 && part[0] == '.' && part[1] == '.') return "has a part \"..\"";
    if (part[n - 1] == '.' || part[n - 1] == ' ') return "has a part that ends in a dot or a blank";
    return n == 4 && !strncasecmp(part, ".git", 4) ? "has a part \".git\"" : NULL;
}

const char *package_path_problem(const char *path) {
    size_t length = strlen(path);
    if (length == 0) return "is empty";
    if (length > PACKAGE_PATH_LIMIT) return "is longer than 1000 bytes";
    if (utf8_invalid_at(path, length) < length) return "is not UTF-8";
    for (const char *p = path; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7F) return "holds a control character";
        if (*p == '\\') return "holds a backslash";
        if (*p == ':') return "holds a colon";
    }
    if (path[0] == '/') return "is absolute";
    for (const char *part = path;;) {
        size_t n = strcspn(part, "/");
        const char *problem = part_problem(part, n);
        if (problem || !part[n]) return problem;
        part += n + 1;
    }
}

static const char *const unlisted[] = {"manifest.json", "SHA256SUMS", "model.sig", "provenance.intoto.jsonl"};

bool package_is_unlisted(const char *path) {
    for (size_t i = 0; i < sizeof unlisted / sizeof *unlisted; i++)
        if (!strcmp(path, unlisted[i])) return true;
    return false;
}

bool package_is_like_unlisted(const char *path) {
    for (size_t i = 0; i < sizeof unlisted / sizeof *unlisted; i++)
        if (!strcasecmp(path, unlisted[i])) return true;
    return false;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

bool package_is_weights(const char *path) {
    return ends_with(path, ".gguf") || ends_with(path, ".safetensors");
}
