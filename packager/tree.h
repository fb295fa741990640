/* tree.h -- what really lies in a directory that may be anybody's, and its files' hashes. Links are noted and
 * never followed, so nothing outside of it is ever opened. */
#ifndef RECAST_PACKAGER_TREE_H
#define RECAST_PACKAGER_TREE_H

#include "core/progress.h"
#include "core/sha256.h"

/* A file that is really there. */
typedef struct FoundFile {
    const char *path; /* relative to the directory, '/' between */
    uint64_t size;
    enum { FOUND_FILE, FOUND_LINK, FOUND_OTHER } kind;
    char sha256[SHA256_HEX]; /* "" if it was not hashed */
} FoundFile;

typedef struct FileTree {
    size_t n_files, capacity;
    FoundFile *files; /* sorted by path as bytes */
    /* directories that were there and not looked into: a clone or a download keeps its own files in them */
    bool git_aside, cache_aside;
} FileTree;

/* Everything below a directory but .git and .cache. Errors: ERR_IO; ERR_LIMIT (100,000 files, 16 levels). In
 * the arena. */
int tree_list(FileTree *out, const char *directory, Arena *arena, Error *err) MUST_CHECK;
FoundFile *tree_find(const FileTree *t, const char *path); /* NULL if absent */
/* Is there a regular file of this name, or (a directory) are all files below it regular? */
bool tree_is_plain(const FileTree *t, const char *path);
/* Opens a regular file without following a link anywhere below the directory. */
int package_open_file(Input **out, const char *directory, const char *path, Error *err) MUST_CHECK;

typedef struct HashOptions {
    unsigned threads; /* 0: one a processor; a file is hashed by one thread */
    const Progress *progress;
} HashOptions;
/* Fills in the hashes of regular files that have none yet and that `wanted` (NULL: all) asks for. */
int tree_hash(const FileTree *t, const char *directory,
              bool (*wanted)(const void *context, const FoundFile *file), const void *context,
              HashOptions options, Arena *arena, Error *err) MUST_CHECK;

#endif
