// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/check.h"
#include "base/yaml.h"

/* Any text: a tree, or an error with a place. Then each typed reader on each node, and the hints. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_node(const struct yaml_node *node)
{
    struct err_info info;
    int64_t i = 0;
    double d = 0;
    bool b = false;
    struct str s = {0};
    CHECK(node->line >= 1 && node->column >= 1 && node->count >= 0);
    enum err errs[] = {
        yaml_i64(node, -100, 100, &i, &info),
        yaml_f64(node, -1, 1e9, &d, &info),
        yaml_bool(node, &b, &info),
        yaml_text(node, &s, &info),
        yaml_duration_ns(node, 0, 1LL << 60, &i, &info),
        yaml_size_bytes(node, 0, 1LL << 60, &i, &info),
        yaml_ratio(node, 0, 1, &d, &info),
    };
    for (int k = 0; k < COUNT_OF(errs); k++) {
        CHECK(errs[k] == ERR_OK || errs[k] == ERR_INVALID);
    }
    static const char *const known[] = {"version", "streams", "pipelines", "nodes", NULL};
    enum err err = yaml_only_keys(node, known, &info);
    CHECK(err == ERR_OK || (err == ERR_INVALID && strlen(info.text) < ERR_TEXT_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { STACK_MAX = 1 << 16 };
    static const struct yaml_node *stack[STACK_MAX];
    struct arena arena;
    struct err_info info = {0};
    const struct yaml_node *root = NULL;
    arena_init(&arena, 64 << 20);
    enum err err =
        yaml_parse(&arena, "f", (struct str){(const char *)data, (ptrdiff_t)size}, &root, &info);
    CHECK((err == ERR_OK) == (root != NULL));
    CHECK(err == ERR_OK || strncmp(info.text, "f:", 2) == 0);
    int depth = 0;
    if (root != NULL) {
        stack[depth++] = root;
    }
    while (depth > 0) {
        const struct yaml_node *node = stack[--depth];
        read_node(node);
        for (int32_t i = 0; i < node->count && depth < STACK_MAX; i++) {
            CHECK(node->kind != YAML_MAP || node->keys[i]->kind == YAML_SCALAR);
            CHECK(node->kind != YAML_MAP ||
                  yaml_get(node, node->keys[i]->text.ptr) == node->items[i]);
            stack[depth++] = node->items[i];
        }
    }
    arena_release(&arena);
    return 0;
}
