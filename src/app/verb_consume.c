// SPDX-License-Identifier: Apache-2.0
/* `shadowcast consume`: a stream's records to standard output, shard by shard, in the order of each shard. */
#include <jansson.h>
#include <stdlib.h>

#include "app/client.h"
#include "app/verbs.h"
#include "base/hash.h"
#include "base/mem.h"

enum { PAGE_RECORDS = 5000, ANSWER_ARENA_MAX = 256 << 20, FROM_END = -1, FROM_START = -2 };

struct consumer {
    const struct cli *cli;
    struct client *client;
    struct arena arena; /* reset for each call */
    const char *stream; /* escaped */
    int64_t *offsets;   /* [shards] where to go on */
    int64_t shards;
    int64_t only; /* shard, or -1: all */
    int64_t left; /* records still wanted */
    bool hashes;  /* no records are printed but a line of their number and hash */
    int64_t hashed;
    uint64_t hash; /* sum of XXH3-64 over the values: in any order the same */
};

/* "start", "end" or a number. */
static bool from_parse(const char *text, int64_t *ret_offset)
{
    char *end = NULL;
    *ret_offset = strcmp(text, "start") == 0 ? FROM_START
                  : strcmp(text, "end") == 0 ? FROM_END
                                             : strtoll(text, &end, 10);
    return end == NULL || (*end == 0 && end != text && *ret_offset >= 0);
}

static enum err find_shards(struct consumer *c, int64_t from, struct err_info *info)
{
    struct client_answer answer;
    struct client_call call = {
        .method = "GET", .path = arena_printf(&c->arena, "/api/v1/streams/%s/shards", c->stream)};
    enum err err = client_call(c->client, &call, &c->arena, &answer, info);
    if (err != ERR_OK) {
        return err;
    }
    json_t *root = json_loadb(answer.body.ptr, (size_t)answer.body.len, 0, NULL);
    c->shards = (int64_t)json_array_size(json_object_get(root, "items"));
    json_decref(root);
    if (c->only >= c->shards) {
        return err_set(info, ERR_NOT_FOUND, "the stream has shards 0 to %lld",
                       (long long)(c->shards - 1));
    }
    c->offsets = MEM_NEW_ARRAY(int64_t, c->shards);
    for (int64_t i = 0; i < c->shards; i++) {
        c->offsets[i] = from;
    }
    return ERR_OK;
}

static int64_t count_lines(struct str text)
{
    int64_t lines = 0;
    for (ptrdiff_t i = 0; i < text.len; i++) {
        lines += text.ptr[i] == '\n';
    }
    return lines;
}

static void hash_lines(struct consumer *c, struct str text)
{
    while (text.len > 0) {
        struct str line = str_cut(&text, '\n');
        c->hash += hash64(line.ptr, line.len);
        c->hashed++;
    }
}

/* One page of a shard, printed. `*ret_more`: there was something, or there is more behind it. */
static enum err read_page(struct consumer *c, int64_t shard, int wait_seconds, bool *ret_more,
                          struct err_info *info)
{
    struct client_answer answer;
    arena_reset(&c->arena);
    int64_t limit = c->left < PAGE_RECORDS ? c->left : PAGE_RECORDS;
    struct client_call call = {
        .method = "GET",
        .path = arena_printf(
            &c->arena,
            "/api/v1/streams/%s/records?shard=%lld&offset=%lld&limit=%lld&wait=%d&format=%s",
            c->stream, (long long)shard, (long long)c->offsets[shard], (long long)limit,
            wait_seconds, c->hashes ? "raw" : cli_text(c->cli, "format"))};
    enum err err = client_call(c->client, &call, &c->arena, &answer, info);
    if (err != ERR_OK) {
        return err;
    }
    if (c->hashes) {
        hash_lines(c, answer.body);
    } else {
        IGNORE_RESULT(
            fwrite(answer.body.ptr, 1, (size_t)answer.body.len, stdout)); /* main() judges stdout */
    }
    c->left -= count_lines(answer.body);
    *ret_more = answer.body.len > 0 || answer.next_offset < answer.end_offset;
    c->offsets[shard] = answer.next_offset;
    return ERR_OK;
}

/* Pages of one shard until it has no more. `idle`: wait a second for the first. */
static enum err read_shard(struct consumer *c, int64_t shard, bool idle, bool *ret_news,
                           struct err_info *info)
{
    bool more = true;
    while (more && c->left > 0 && !ferror(stdout)) {
        enum err err = read_page(c, shard, idle ? 1 : 0, &more, info);
        if (err != ERR_OK) {
            return err;
        }
        *ret_news = *ret_news || more;
        idle = false;
    }
    return ERR_OK;
}

/* All shards once; then, if wanted, again and again. A round after one without news waits at its first shard. */
static enum err read_rounds(struct consumer *c, struct err_info *info)
{
    bool follow = cli_flag(c->cli, "follow");
    int64_t first = c->only >= 0 ? c->only : 0;
    int64_t last = c->only >= 0 ? c->only : c->shards - 1;
    bool news = true;
    while ((news || follow) && c->left > 0 && !ferror(stdout)) {
        bool idle = !news;
        news = false;
        for (int64_t shard = first; shard <= last; shard++) {
            enum err err = read_shard(c, shard, idle && shard == first, &news, info);
            if (err != ERR_OK) {
                return err;
            }
        }
        IGNORE_RESULT(fflush(stdout)); /* followers want to see it now */
    }
    return ERR_OK;
}

int verb_consume(const struct cli *cli)
{
    struct consumer c = {.cli = cli,
                         .only = cli_given(cli, "shard") ? cli_i64(cli, "shard") : -1,
                         .left = cli_given(cli, "limit") ? cli_i64(cli, "limit") : INT64_MAX,
                         .hashes = cli_flag(cli, "result-hash")};
    struct arena arena;
    struct err_info info;
    int64_t from = 0;
    if (!from_parse(cli_text(cli, "from"), &from)) {
        return client_wrong_call("consume: --from is start, end or an offset");
    }
    if (c.hashes && cli_flag(cli, "follow")) {
        return client_wrong_call("consume: --result-hash is told at the end, --follow has none");
    }
    arena_init(&arena, 1 << 16);
    arena_init(&c.arena, ANSWER_ARENA_MAX);
    c.stream = client_escape(&arena, cli->args[0]);
    enum err err = client_new(cli, &c.client, &info);
    if (err == ERR_OK) {
        err = find_shards(&c, from, &info);
    }
    if (err == ERR_OK) {
        err = read_rounds(&c, &info);
    }
    if (err == ERR_OK && c.hashes) {
        printf("%lld %016llx\n", (long long)c.hashed, (unsigned long long)c.hash);
    }
    client_free(c.client);
    mem_free(c.offsets);
    arena_release(&c.arena);
    arena_release(&arena);
    return err == ERR_OK ? EXIT_CODE_OK : client_fail(&info);
}
