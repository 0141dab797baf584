// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/check.h"

/* libyaml's events become the tree through a stack of open maps and lists, no recursion. Entries are chained while
 * their map or list is open (its size is not known before) and put into arrays when it ends. */

struct entry {
    struct entry *next;
    struct yaml_node *key; /* maps */
    struct yaml_node *value;
};

struct frame {
    struct yaml_node *node;
    struct entry *first;
    struct entry **tail;
    struct yaml_node *key; /* maps: the key that waits for its value */
};

struct builder {
    struct arena *arena;
    const char *file;
    struct str text;
    struct err_info *info;
    struct yaml_node *root;
    int32_t node_count;
    int32_t document_count;
    int32_t depth;
    struct frame stack[YAML_DEPTH_MAX];
};

static enum err fail_at(const struct builder *b, enum err code, yaml_mark_t mark, const char *what)
{
    return err_set(b->info, code, "%s:%zu:%zu: %s", b->file, mark.line + 1, mark.column + 1, what);
}

static enum err fail_memory(const struct builder *b, yaml_mark_t mark)
{
    return fail_at(b, ERR_LIMIT, mark, "the text needs more memory than its reader may use");
}

static struct yaml_node *new_node(struct builder *b, enum yaml_kind kind, yaml_mark_t mark)
{
    struct yaml_node *node = arena_try_new(b->arena, 1, (ptrdiff_t)sizeof(*node));
    if (node != NULL) {
        node->kind = kind;
        node->line = (int32_t)mark.line + 1;
        node->column = (int32_t)mark.column + 1;
        node->file = b->file;
    }
    return node;
}

static int by_text_then_place(const void *a, const void *b)
{
    const struct yaml_node *x = *(const struct yaml_node *const *)a;
    const struct yaml_node *y = *(const struct yaml_node *const *)b;
    int order = str_compare(x->text, y->text);
    if (order == 0) {
        order = x->line != y->line ? (x->line > y->line) - (x->line < y->line)
                                   : (x->column > y->column) - (x->column < y->column);
    }
    return order;
}

/* Sorted, so that a long map does not cost the square of its length. */
static enum err check_duplicates(const struct builder *b, const struct yaml_node *map,
                                 yaml_mark_t mark)
{
    struct arena_mark scratch = arena_mark(b->arena);
    struct yaml_node **sorted =
        arena_try_new(b->arena, map->count, (ptrdiff_t)sizeof(struct yaml_node *));
    if (sorted == NULL) {
        return fail_memory(b, mark);
    }
    memcpy(sorted, map->keys, (size_t)map->count * sizeof(struct yaml_node *));
    qsort(sorted, (size_t)map->count, sizeof(struct yaml_node *), by_text_then_place);
    enum err err = ERR_OK;
    for (int32_t i = 1; i < map->count && err == ERR_OK; i++) {
        if (str_equal(sorted[i - 1]->text, sorted[i]->text)) {
            err = yaml_fail(b->info, sorted[i],
                            "the key \"%.*s\" stands here a second time (first in line %d); "
                            "remove one",
                            (int)(sorted[i]->text.len < 60 ? sorted[i]->text.len : 60),
                            sorted[i]->text.ptr, sorted[i - 1]->line);
        }
    }
    arena_rewind(b->arena, scratch);
    if (err != ERR_OK && b->info != NULL) {
        b->info->code = ERR_PARSE;
    }
    return err == ERR_OK ? ERR_OK : ERR_PARSE;
}

/* Turns the chain of an ended map or list into its arrays. */
static enum err close_frame(struct builder *b, yaml_mark_t mark)
{
    struct frame *frame = &b->stack[--b->depth];
    struct yaml_node *node = frame->node;
    bool map = node->kind == YAML_MAP;
    if (node->count == 0) {
        return ERR_OK;
    }
    node->items = arena_try_new(b->arena, node->count, (ptrdiff_t)sizeof(struct yaml_node *));
    node->keys =
        map ? arena_try_new(b->arena, node->count, (ptrdiff_t)sizeof(struct yaml_node *)) : NULL;
    if (node->items == NULL || (map && node->keys == NULL)) {
        return fail_memory(b, mark);
    }
    int32_t i = 0;
    for (const struct entry *e = frame->first; e != NULL; e = e->next, i++) {
        node->items[i] = e->value;
        if (map) {
            node->keys[i] = e->key;
        }
    }
    return map ? check_duplicates(b, node, mark) : ERR_OK;
}

/* Puts a node where the text has it: as the root, an item, a key, or the value of the key before. */
static enum err place(struct builder *b, struct yaml_node *node, yaml_mark_t mark)
{
    if (b->depth == 0) {
        b->root = node;
        return ERR_OK;
    }
    struct frame *frame = &b->stack[b->depth - 1];
    if (frame->node->kind == YAML_MAP && frame->key == NULL) {
        if (node->kind != YAML_SCALAR) {
            return fail_at(b, ERR_PARSE, mark, "a key must be a plain text, not a map or a list");
        }
        frame->key = node;
        return ERR_OK;
    }
    struct entry *entry = arena_try_new(b->arena, 1, (ptrdiff_t)sizeof(*entry));
    if (entry == NULL) {
        return fail_memory(b, mark);
    }
    entry->key = frame->key;
    entry->value = node;
    frame->key = NULL;
    *frame->tail = entry;
    frame->tail = &entry->next;
    frame->node->count++;
    return ERR_OK;
}

static bool waits_for_key(const struct builder *b)
{
    return b->depth > 0 && b->stack[b->depth - 1].node->kind == YAML_MAP &&
           b->stack[b->depth - 1].key == NULL;
}

static bool means_null(struct str text)
{
    return str_is(text, "~") || str_is(text, "null") || str_is(text, "Null") ||
           str_is(text, "NULL");
}

static enum err add_scalar(struct builder *b, const yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;
    struct str text = {(const char *)event->data.scalar.value,
                       (ptrdiff_t)event->data.scalar.length};
    if (text.len > 0 && memchr(text.ptr, 0, (size_t)text.len) != NULL) {
        return fail_at(b, ERR_PARSE, mark, "a text may not hold the character NUL (\\0)");
    }
    struct yaml_node *node = new_node(b, YAML_SCALAR, mark);
    if (node == NULL) {
        return fail_memory(b, mark);
    }
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!node->quoted && !waits_for_key(b) && means_null(text)) {
        text = STR("");
    }
    char *copy = arena_try_new(b->arena, text.len + 1, 1);
    if (copy == NULL) {
        return fail_memory(b, mark);
    }
    memcpy(copy, text.ptr, (size_t)text.len);
    node->text = (struct str){copy, text.len};
    return place(b, node, mark);
}

static enum err open_frame(struct builder *b, enum yaml_kind kind, yaml_mark_t mark)
{
    if (b->depth == YAML_DEPTH_MAX) {
        return fail_at(b, ERR_LIMIT, mark, "nested deeper than 64 levels");
    }
    static_assert(YAML_DEPTH_MAX == 64, "the message says so");
    struct yaml_node *node = new_node(b, kind, mark);
    if (node == NULL) {
        return fail_memory(b, mark);
    }
    enum err err = place(b, node, mark);
    if (err != ERR_OK) {
        return err;
    }
    struct frame *frame = &b->stack[b->depth++];
    *frame = (struct frame){.node = node};
    frame->tail = &frame->first;
    return ERR_OK;
}

static bool has_anchor_or_tag(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT) {
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    }
    return false;
}

static enum err begin_document(struct builder *b, const yaml_event_t *event)
{
    const yaml_tag_directive_t *tags = event->data.document_start.tag_directives.start;
    if (tags != event->data.document_start.tag_directives.end) {
        return fail_at(b, ERR_PARSE, event->start_mark, "tags are not taken here");
    }
    if (++b->document_count > 1) {
        return fail_at(b, ERR_PARSE, event->start_mark,
                       "a second document begins here; one file holds one");
    }
    return ERR_OK;
}

static enum err on_event(struct builder *b, const yaml_event_t *event)
{
    yaml_mark_t mark = event->start_mark;
    if (has_anchor_or_tag(event)) {
        return fail_at(b, ERR_PARSE, mark,
                       "anchors (&name) and tags (!name) are not taken here; write the value out");
    }
    bool counts = event->type == YAML_SCALAR_EVENT || event->type == YAML_SEQUENCE_START_EVENT ||
                  event->type == YAML_MAPPING_START_EVENT;
    if (counts && ++b->node_count > YAML_NODES_MAX) {
        return fail_at(b, ERR_LIMIT, mark, "more than 1048576 values");
    }
    static_assert(YAML_NODES_MAX == 1048576, "the message says so");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return begin_document(b, event);
    case YAML_ALIAS_EVENT:
        return fail_at(b, ERR_PARSE, mark,
                       "aliases (*name) are not taken here; write the value out");
    case YAML_SCALAR_EVENT:
        return add_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return open_frame(b, YAML_LIST, mark);
    case YAML_MAPPING_START_EVENT:
        return open_frame(b, YAML_MAP, mark);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return close_frame(b, mark);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    default:
        return ERR_OK;
    }
}

/* Line and column (from 0) of a byte of the text. */
static yaml_mark_t mark_of_byte(struct str text, ptrdiff_t at)
{
    yaml_mark_t mark = {0};
    for (ptrdiff_t i = 0; i < at && i < text.len; i++) {
        bool cr_alone = text.ptr[i] == '\r' && (i + 1 == text.len || text.ptr[i + 1] != '\n');
        if (text.ptr[i] == '\n' || cr_alone) {
            mark.line++;
            mark.column = 0;
        } else if (((unsigned char)text.ptr[i] & 0xc0U) != 0x80) {
            mark.column++; /* characters, not bytes, as libyaml counts */
        }
    }
    return mark;
}

/* Whether a line's indentation holds a tab: libyaml's own words do not say so. */
static bool indented_by_tab(struct str text, size_t line)
{
    for (size_t i = 0; i < line; i++) {
        IGNORE_RESULT(str_cut(&text, '\n'));
    }
    struct str found = str_cut(&text, '\n');
    ptrdiff_t i = 0;
    while (i < found.len && found.ptr[i] == ' ') {
        i++;
    }
    return i < found.len && found.ptr[i] == '\t';
}

static enum err fail_syntax(const struct builder *b, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR) {
        return err_set(b->info, ERR_LIMIT, "%s: no memory to read it", b->file);
    }
    if (parser->error == YAML_READER_ERROR) {
        yaml_mark_t mark = mark_of_byte(b->text, (ptrdiff_t)parser->problem_offset);
        return err_set(b->info, ERR_PARSE, "%s:%zu:%zu: %s; the file must be UTF-8 text", b->file,
                       mark.line + 1, mark.column + 1, problem);
    }
    yaml_mark_t mark = parser->problem_mark;
    if (indented_by_tab(b->text, mark.line)) {
        return err_set(b->info, ERR_PARSE, "%s:%zu:%zu: a tab in the indentation; use spaces",
                       b->file, mark.line + 1, mark.column + 1);
    }
    if (parser->context == NULL) {
        return err_set(b->info, ERR_PARSE, "%s:%zu:%zu: %s", b->file, mark.line + 1,
                       mark.column + 1, problem);
    }
    return err_set(b->info, ERR_PARSE, "%s:%zu:%zu: %s, %s that begins in line %zu", b->file,
                   mark.line + 1, mark.column + 1, problem, parser->context,
                   parser->context_mark.line + 1);
}

static enum err read_events(struct builder *b)
{
    yaml_parser_t parser;
    if (yaml_parser_initialize(&parser) == 0) {
        return err_set(b->info, ERR_LIMIT, "%s: no memory to read it", b->file);
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)b->text.ptr, (size_t)b->text.len);
    enum err err = ERR_OK;
    bool more = true;
    while (err == ERR_OK && more) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event) == 0) {
            err = fail_syntax(b, &parser);
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        err = on_event(b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return err;
}

enum err yaml_parse(struct arena *arena, const char *file, struct str text,
                    const struct yaml_node **ret_root, struct err_info *info)
{
    if (text.len > YAML_BYTES_MAX) {
        return err_set(info, ERR_LIMIT, "%s: %td bytes are more than the %d that are read", file,
                       text.len, YAML_BYTES_MAX);
    }
    if (str_starts_with(text, STR("\xef\xbb\xbf"))) {
        text = (struct str){text.ptr + 3, text.len - 3};
    }
    if (text.ptr == NULL) {
        text = STR("");
    }
    /* The tree outlives the caller's copy of the name. */
    size_t name_bytes = strlen(file) + 1;
    char *name = arena_try_new(arena, (ptrdiff_t)name_bytes, 1);
    if (name == NULL) {
        return err_set(info, ERR_LIMIT, "%s: no memory to read it", file);
    }
    memcpy(name, file, name_bytes);
    struct builder b = {.arena = arena, .file = name, .text = text, .info = info};
    const char *nul = memchr(text.ptr, 0, (size_t)text.len);
    if (nul != NULL) {
        return fail_at(&b, ERR_PARSE, mark_of_byte(text, nul - text.ptr),
                       "a byte NUL; the file must be UTF-8 text");
    }
    enum err err = read_events(&b);
    if (err != ERR_OK) {
        return err;
    }
    bool empty =
        b.root == NULL || (b.root->kind == YAML_SCALAR && !b.root->quoted && b.root->text.len == 0);
    if (empty) {
        yaml_mark_t start = {0};
        b.root = new_node(&b, YAML_MAP, start);
        if (b.root == NULL) {
            return fail_memory(&b, start);
        }
    }
    *ret_root = b.root;
    return ERR_OK;
}
