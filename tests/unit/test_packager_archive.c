/* test_packager_archive.c -- archives: what goes in comes out to the bit, and nothing hostile does
 * (tests/golden/ hostile). */
#include "core/output.h"
#include "packager/archive.h"
#include "packager/planes.h"
#include "packager/tar.h"
#include "packager/zstd_stream.h"
#include "support.h"
#include <time.h>

#define HOSTILE "tests/golden/hostile/"

static void run(const char *format, ...) ERROR_PRINTF(1, 2);
static void run(const char *format, ...) {
    char command[4 * PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    cr_assert_eq(system(command), 0, "%s", command);
}

static uint32_t draw(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* ---- hostile archives, and good ones ---- */

Test(packager_archive, each_of_the_table) {
    char line[300], path[400];
    size_t n = 0, good = 0;
    FILE *table = fopen(HOSTILE "table.txt", "r");
    cr_assert_not_null(table);
    while (fgets(line, sizeof line, table)) {
        TempDir t;
        ArchiveResult r;
        Error err = {0};
        char *tab = strchr(line, '\t'), *message = tab + 1;
        *tab = 0;
        message[strcspn(message, "\n")] = 0;
        temp_dir_open(&t);
        snprintf(path, sizeof path, HOSTILE "%s", line);
        int code = archive_unpack(&r, path, temp_path(&t, "out"), &(ArchiveOptions){0}, &err);
        if (!strcmp(message, "-")) {
            cr_assert_eq(code, 0, "%s: %s", line, err.message);
            cr_assert(file_is(temp_path(&t, "out/README.md"), "# x\n"), "%s", line);
            good++;
        } else {
            cr_assert_neq(code, 0, "%s was accepted", line);
            cr_assert(strstr(err.message, message), "%s: %s", line, err.message);
            cr_assert_not(strstr(err.message, ".tmp"), "%s: %s", line, err.message);
            cr_assert_eq(count_entries(t.path), 0, "%s left something", line);
        }
        temp_dir_close(&t);
        n++;
    }
    fclose(table);
    cr_assert_eq(n, 74);
    cr_assert_eq(good, 6);
}

/* Whatever byte is wrong (every third is tried), nothing is unpacked that isn't the package. */
Test(packager_archive, every_flipped_byte, .timeout = 120) {
    static const char *const names[] = {"good.tar.zst", "good.zip"};
    Arena *arena;
    Error err;
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    for (size_t k = 0; k < 2; k++) {
        char path[300], *bytes;
        size_t length, accepted = 0;
        TempDir t;
        temp_dir_open(&t);
        snprintf(path, sizeof path, HOSTILE "%s", names[k]);
        cr_assert_eq(input_read_file(&bytes, &length, path, 1 << 20, arena, &err), 0);
        for (size_t i = 0; i < length; i += 3) {
            ArchiveResult r;
            bytes[i] ^= 0x10;
            FILE *f = fopen(temp_path(&t, names[k]), "wb");
            cr_assert_eq(fwrite(bytes, 1, length, f), length);
            fclose(f);
            bytes[i] ^= 0x10;
            int code = archive_unpack(&r, temp_path(&t, names[k]), temp_path(&t, "out"),
                                      &(ArchiveOptions){.replace = true}, &err);
            accepted += !code;
            if (!code)
                cr_assert(file_is(temp_path(&t, "out/recipe.json"), "{}\n"), "%s, byte %zu", names[k], i);
        }
        cr_assert_lt(accepted, length / 24, "%s: %zu of %zu", names[k], accepted,
                     length); /* times and permissions */
        temp_dir_close(&t);
    }
    arena_close(arena);
}

Test(packager_archive, limits_and_names) {
    TempDir t;
    ArchiveResult r;
    Error err;
    temp_dir_open(&t);
    ArchiveOptions small = {.max_size = 30};
    int code = archive_unpack(&r, HOSTILE "good.tar.zst", temp_path(&t, "out"), &small, &err);
    cr_assert_eq(code, ERR_LIMIT, "%s", err.message);
    code = archive_unpack(&r, HOSTILE "table.txt", temp_path(&t, "out"), &(ArchiveOptions){0}, &err);
    cr_assert_eq(code, ERR_USAGE);
    /* a directory that is no package is never swapped out */
    run("mkdir %s/home && echo mine >%s/home/letter", t.path, t.path);
    ArchiveOptions replace = {.replace = true};
    code = archive_unpack(&r, HOSTILE "good.zip", temp_path(&t, "home"), &replace, &err);
    cr_assert_neq(code, 0);
    cr_assert(file_is(temp_path(&t, "home/letter"), "mine\n"));
    cr_assert_eq(archive_unpack(&r, HOSTILE "good.zip", temp_path(&t, "out"), &replace, &err), 0, "%s",
                 err.message);
    cr_assert_eq(archive_unpack(&r, HOSTILE "good.zip", temp_path(&t, "out"), &replace, &err), 0, "%s",
                 err.message);
    cr_assert_eq(archive_unpack(&r, HOSTILE "good.zip", temp_path(&t, "out"), &(ArchiveOptions){0}, &err),
                 ERR_IO);
    temp_dir_close(&t);
}

/* ---- there and back ---- */

/* A package in t/p: a file of `words` bf16 numbers, one with a long name, an empty one. */
static void make_package(TempDir *t, size_t words) {
    uint32_t state = 1;
    char name[256] = "hf/";
    Error err;
    memset(name + 3, 'n', 200);
    run("mkdir -p %s/p/hf", t->path);
    FILE *f = fopen(temp_path(t, "p/x.gguf"), "wb");
    for (size_t i = 0; i < words; i++) {
        float x = (float)(int32_t)(draw(&state) - draw(&state)) * 1e-11f; /* exponents of few kinds */
        uint32_t bits;
        memcpy(&bits, &x, 4);
        fwrite((uint8_t[]){(uint8_t)(bits >> 16), (uint8_t)(bits >> 24)}, 1, 2, f);
    }
    fputc('x', f); /* an odd length */
    fclose(f);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/p/%s", t->path, name);
    file_put(path, "long name\n");
    file_put(temp_path(t, "p/empty"), "");
    file_put(temp_path(t, "p/recipe.json"), "{}\n");
    run("cd %s/p && for f in empty hf/* recipe.json x.gguf; do printf '%%s %%s %%s\\n' \"$f\" \"$(stat -c "
        "%%s \"$f\")\" "
        "\"$(sha256sum <\"$f\" | cut -c1-64)\"; done >../list",
        t->path);
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b,
                "{\"manifest\":1,\"name\":\"x\",\"base\":{\"files\":[]},\"overrides\":[],\"artifacts\":[],"
                "\"generations\":[],\"files\":[");
    FILE *list = fopen(temp_path(t, "list"), "r");
    char file[300], hex[80];
    unsigned long long size;
    for (size_t i = 0; fscanf(list, "%299s %llu %79s", file, &size, hex) == 3; i++)
        buffer_printf(&b, "%s{\"path\":\"%s\",\"size\":%llu,\"sha256\":\"%s\"}", i ? "," : "", file, size,
                      hex);
    fclose(list);
    buffer_text(&b, "]}");
    cr_assert_eq(output_file(temp_path(t, "p/manifest.json"), b.data, b.length, NULL, &err), 0);
    buffer_free(&b);
}

static void there_and_back(TempDir *t, const char *archive, const ArchiveOptions *o, ArchiveResult *packed) {
    ArchiveResult r;
    Error err;
    int code = archive_write(packed, temp_path(t, archive), temp_path(t, "p"), o, &err);
    cr_assert_eq(code, 0, "%s", err.message);
    code = archive_unpack(&r, temp_path(t, archive), temp_path(t, "q"), &(ArchiveOptions){.replace = true},
                          &err);
    cr_assert_eq(code, 0, "%s", err.message);
}

Test(packager_archive, tar_zst_there_and_back) {
    static const size_t words[] = {0, 3, PLANES_BLOCK / 2, 3 * PLANES_BLOCK / 2 + 77};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        TempDir t;
        ArchiveResult planes, plain;
        temp_dir_open(&t);
        make_package(&t, words[i]);
        there_and_back(&t, "a.tar.zst", &(ArchiveOptions){.threads = 2}, &planes);
        run("diff -r %s/p %s/q", t.path, t.path);
        there_and_back(&t, "b.tar.zst", &(ArchiveOptions){.plain = true, .level = 1}, &plain);
        run("diff -r %s/p %s/q", t.path, t.path);
        cr_assert_eq(plain.n_planes, 0);
        cr_assert_eq(planes.n_files, 5);
        if (words[i] > 1000) {
            cr_assert_eq(planes.n_planes, 1);
            cr_assert_lt(planes.archive_bytes, plain.archive_bytes * 95 / 100);
        }
        /* other programs read the plain one */
        run("command -v zstd >/dev/null || exit 0; cd %s && mkdir x && zstd -qdc b.tar.zst | tar -xf - -C x "
            "&& diff -r p x",
            t.path);
        temp_dir_close(&t);
    }
}

/* The number of threads is in no byte, nor is the time zone. */
Test(packager_archive, zip_is_the_same_everywhere) {
    static const char *const zones[] = {
        "UTC",          "Pacific/Kiritimati", "America/St_Johns", "Asia/Kathmandu",
        "Pacific/Apia", "Africa/Monrovia",    "Europe/London"};
    TempDir t;
    temp_dir_open(&t);
    make_package(&t, 5);
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        ArchiveResult r;
        Error err;
        char name[32];
        snprintf(name, sizeof name, "%zu.zip", i);
        setenv("TZ", zones[i], 1);
        tzset();
        int code = archive_write(&r, temp_path(&t, name), temp_path(&t, "p"), &(ArchiveOptions){0}, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        cr_assert_eq(r.n_files, 4); /* all but x.gguf */
        run("cmp %s/0.zip %s/%s", t.path, t.path, name);
    }
    run("command -v unzip >/dev/null || exit 0; cd %s && unzip -tq 0.zip >/dev/null", t.path);
    temp_dir_close(&t);
}

/* A member NAME.planes holds NAME in planes; a file that is called so itself comes back too. */
Test(packager_archive, a_file_called_planes) {
    TempDir t;
    ArchiveResult r;
    Error err;
    temp_dir_open(&t);
    make_package(&t, 1000);
    run("cd %s/p && mv empty empty.planes && mv recipe.json recipe.planes && "
        "sed -i 's/\"empty\"/\"empty.planes\"/; s/\"recipe.json\"/\"recipe.planes\"/' manifest.json",
        t.path);
    for (int plain = 0; plain < 2; plain++) {
        ArchiveOptions o = {.plain = plain, .replace = true};
        int code = archive_write(&r, temp_path(&t, "a.tar.zst"), temp_path(&t, "p"), &o, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        code = archive_unpack(&r, temp_path(&t, "a.tar.zst"), temp_path(&t, "out"), &o, &err);
        cr_assert_eq(code, 0, "%s", err.message);
        run("diff -r %s/p %s/out", t.path, t.path);
    }
    temp_dir_close(&t);
}

Test(packager_archive, packs_only_what_the_manifest_says) {
    static const char *const commands[][2] = {
        {"echo y >recipe.json", "recipe.json has"},
        {"printf '[]\\n' >recipe.json", "recipe.json has SHA-256"},
        {"rm hf/n*", "is missing"},
        {"touch more", "is not in the manifest"},
        {"rm empty && ln -s recipe.json empty", "is no regular file"},
        {"printf Z | dd of=x.gguf conv=notrunc status=none", "x.gguf has SHA-256"},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        TempDir t;
        ArchiveResult r;
        Error err;
        temp_dir_open(&t);
        make_package(&t, 1000);
        run("cd %s/p && %s", t.path, commands[i][0]);
        int code =
            archive_write(&r, temp_path(&t, "a.tar.zst"), temp_path(&t, "p"), &(ArchiveOptions){0}, &err);
        cr_assert_neq(code, 0, "%s", commands[i][0]);
        cr_assert(strstr(err.message, commands[i][1]), "%s: %s", commands[i][0], err.message);
        cr_assert_not(path_exists(temp_path(&t, "a.tar.zst")));
        run("cd %s && ! ls -A | grep tmp", t.path);
        temp_dir_close(&t);
    }
}

/* ---- parts ---- */

Test(packager_archive, planes_of_any_bytes) {
    static uint8_t in[PLANES_BLOCK], out[PLANES_BLOCK + 1], back[PLANES_BLOCK];
    static const size_t lengths[] = {0, 1, 2, 3, 4095, 4096, PLANES_BLOCK - 1, PLANES_BLOCK};
    uint32_t state = 7;
    Error err;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int kind = 0; kind < 2; kind++) {
            size_t n = lengths[i];
            for (size_t k = 0; k < n; k++) in[k] = kind && k % 2 ? 0x3C : (uint8_t)draw(&state);
            planes_split(out, in, n);
            if (n > 4000) cr_assert_eq(out[0], kind);
            cr_assert_eq(planes_join(back, out, n, &err), 0);
            cr_assert_arr_eq(in, back, n);
        }
    for (uint32_t w = 0; w < 65536; w++) { /* every word */
        in[2 * w] = (uint8_t)w;
        in[2 * w + 1] = (uint8_t)(w >> 8);
    }
    memset(in + 131072, 0, 400000);
    planes_split(out, in, 531072);
    cr_assert_eq(planes_join(back, out, 531072, &err), 0);
    cr_assert_arr_eq(in, back, 531072);
    cr_assert_eq(planes_size(0), 0);
    cr_assert_eq(planes_size(PLANES_BLOCK), PLANES_BLOCK + 1);
    cr_assert_eq(planes_size(PLANES_BLOCK + 1), PLANES_BLOCK + 3);
}

Test(packager_archive, tar_headers) {
    char name[700];
    static const uint64_t sizes[] = {0, 1, 511, 512, 8589934591, 8589934592, UINT64_C(1) << 52};
    Error err;
    for (size_t n = 1; n < 600; n += 49)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            Buffer b, found;
            TarHeader h;
            uint64_t size = 0;
            bool has_size = false;
            memset(name, 'a', n);
            name[n] = 0;
            buffer_init(&b, NULL);
            buffer_init(&found, NULL);
            tar_header(&b, name, sizes[i]);
            cr_assert_eq(b.length % TAR_BLOCK, 0);
            const uint8_t *at = (const uint8_t *)b.data;
            cr_assert_eq(tar_parse(&h, at, &err), 0, "%s", err.message);
            if (h.type == 'x') {
                int code = tar_parse_pax(&found, &size, &has_size, (const char *)at + TAR_BLOCK,
                                         (size_t)h.size, &err);
                cr_assert_eq(code, 0, "%s", err.message);
                cr_assert_eq(tar_parse(&h, at + b.length - TAR_BLOCK, &err), 0);
            }
            cr_assert_eq(h.type, '0');
            cr_assert_str_eq(found.length ? buffer_string(&found) : h.name, name);
            cr_assert_eq(has_size ? size : h.size, sizes[i]);
            buffer_free(&b);
            buffer_free(&found);
        }
}

/* Two frames, and the table that finds them. */
Test(packager_archive, zstd_frames_and_seek_table, .timeout = 120) {
    enum { PIECE = 1 << 20 };
    const uint64_t total = (uint64_t)ZSTD_FRAME_BYTES + 3 * PIECE + 5;
    static uint8_t piece[PIECE], found[PIECE];
    TempDir t;
    Output *file;
    ZstdWriter *w;
    ZstdReader *r;
    Input *in;
    uint64_t size;
    Error err;
    temp_dir_open(&t);
    cr_assert_eq(output_create(&file, temp_path(&t, "x.zst"), NULL, &err), 0);
    cr_assert_eq(zstd_writer_open(&w, file, total, 2, 1, &err), 0, "%s", err.message);
    for (uint64_t at = 0; at < total; at += PIECE) {
        piece[at / PIECE % 1000] = (uint8_t)(at / PIECE);
        size_t n = total - at < PIECE ? (size_t)(total - at) : PIECE;
        cr_assert_eq(zstd_write(w, piece, n, &err), 0, "%s", err.message);
    }
    cr_assert_eq(zstd_write(w, piece, 1, &err), ERR_LIMIT);
    cr_assert_eq(zstd_writer_finish(w, &size, &err), 0);
    zstd_writer_close(w);
    cr_assert_eq(output_commit(file, &err), 0);
    cr_assert_eq(input_open(&in, temp_path(&t, "x.zst"), NULL, &err), 0);
    cr_assert_eq(input_size(in), size);
    uint8_t table[8 + 2 * 12 + 9];
    cr_assert_eq(input_read(in, size - sizeof table, table, sizeof table, &err), 0);
    cr_assert_eq(load_u32(table), 0x184D2A5E);
    cr_assert_eq(load_u32(table + 4), sizeof table - 8);
    cr_assert_eq(load_u32(table + 12), (uint32_t)ZSTD_FRAME_BYTES);
    cr_assert_eq(load_u32(table + 24), (uint32_t)(total - ZSTD_FRAME_BYTES));
    cr_assert_eq(load_u32(table + 8) + load_u32(table + 20) + sizeof table, size);
    cr_assert_eq(load_u32(table + 32), 2);
    cr_assert_eq(table[36], 0x80);
    cr_assert_eq(load_u32(table + 37), 0x8F92EAB1);
    /* a frame ends with the checksum that the table repeats */
    uint8_t sum[4];
    cr_assert_eq(input_read(in, load_u32(table + 8) - 4, sum, 4, &err), 0);
    cr_assert_arr_eq(sum, table + 16, 4);
    for (unsigned threads = 1; threads <= 2; threads++) {
        cr_assert_eq(zstd_reader_open(&r, in, threads, &err), 0);
        memset(piece, 0, PIECE);
        for (uint64_t at = 0; at < total; at += PIECE) {
            piece[at / PIECE % 1000] = (uint8_t)(at / PIECE);
            size_t n = total - at < PIECE ? (size_t)(total - at) : PIECE;
            cr_assert_eq(zstd_read(r, found, n, &err), 0, "%s", err.message);
            cr_assert_eq(memcmp(found, piece, n), 0);
        }
        cr_assert_eq(zstd_read_end(r, &err), 0);
        zstd_reader_close(r);
    }
    input_close(in);
    run("command -v zstd >/dev/null || exit 0; zstd -tq %s/x.zst", t.path);
    temp_dir_close(&t);
}
