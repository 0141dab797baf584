// SPDX-License-Identifier: Apache-2.0
/* A pipeline's text with other settings: the text is read as a tree, the settings are put in where they belong, the tree is
 * written again. So a setting is whatever the file may say, and a candidate that did well is promoted with its text. */
#include "base/yaml.h"
#include "control/shadows_priv.h"
#include "pipeline/config.h"

/* The tree is this file's own, made by yaml_parse in the caller's arena: what it points to may be written. */
static struct yaml_node *child(const struct yaml_node *map, const char *key)
{
    for (int32_t i = 0; map != NULL && map->kind == YAML_MAP && i < map->count; i++) {
        if (str_is(map->keys[i]->text, key)) {
            return map->items[i];
        }
    }
    return NULL;
}

static struct yaml_node *named(const struct yaml_node *list, struct str name)
{
    for (int32_t i = 0; list != NULL && list->kind == YAML_LIST && i < list->count; i++) {
        const struct yaml_node *own = yaml_get(list->items[i], "name");
        if (own != NULL && str_equal(own->text, name)) {
            return list->items[i];
        }
    }
    return NULL;
}

/* The settings of an operator of a chain: [{window: {name: w, ...}}]; without a name it is called as its type. */
static struct yaml_node *operator_of(const struct yaml_node *chain, struct str name)
{
    for (int32_t i = 0; chain != NULL && chain->kind == YAML_LIST && i < chain->count; i++) {
        const struct yaml_node *item = chain->items[i];
        if (item->kind != YAML_MAP || item->count != 1 || item->items[0]->kind != YAML_MAP) {
            continue;
        }
        const struct yaml_node *own = yaml_get(item->items[0], "name");
        if (str_equal(own != NULL ? own->text : item->keys[0]->text, name)) {
            return item->items[0];
        }
    }
    return NULL;
}

static struct yaml_node *scalar(struct arena *arena, struct str text)
{
    struct yaml_node *node = ARENA_NEW(arena, struct yaml_node);
    *node = (struct yaml_node){.kind = YAML_SCALAR,
                               .file = "set",
                               .line = 1,
                               .column = 1,
                               .text = {arena_dup(arena, text.ptr, text.len), text.len}};
    return node;
}

static void put(struct arena *arena, struct yaml_node *map, struct str key, struct yaml_node *value)
{
    for (int32_t i = 0; i < map->count; i++) {
        if (str_equal(map->keys[i]->text, key)) {
            map->items[i] = value;
            return;
        }
    }
    struct yaml_node **keys = ARENA_NEW_ARRAY(arena, struct yaml_node *, map->count + 1);
    struct yaml_node **items = ARENA_NEW_ARRAY(arena, struct yaml_node *, map->count + 1);
    for (int32_t i = 0; i < map->count; i++) {
        keys[i] = map->keys[i];
        items[i] = map->items[i];
    }
    keys[map->count] = scalar(arena, key);
    items[map->count] = value;
    map->keys = keys;
    map->items = items;
    map->count++;
}

static void take_out(struct yaml_node *map, struct str key)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < map->count; i++) {
        if (!str_equal(map->keys[i]->text, key)) {
            map->keys[kept] = map->keys[i];
            map->items[kept++] = map->items[i];
        }
    }
    map->count = kept;
}

/* Where a setting belongs: the map, and its key there. */
struct setting_place {
    struct yaml_node *map;
    struct str key, value; /* value: as asked for */
};

/* One setting: "w.cache=1MiB", or "p.settings.level=3" for what is nested; "w.cache=" is what nobody sets. */
static enum err find_place(struct arena *arena, const struct yaml_node *chain, struct str setting,
                           struct setting_place *ret_place, struct err_info *info)
{
    struct str value = setting;
    struct str path = str_cut(&value, '=');
    struct str rest = path;
    struct str name = str_cut(&rest, '.');
    if (value.ptr == NULL || rest.ptr == NULL || rest.len == 0 || name.len == 0) {
        return err_set(info, ERR_INVALID, "'%.*s' is no setting: one is like operator.key=value",
                       STR_ARG(setting));
    }
    struct yaml_node *at = operator_of(chain, name);
    if (at == NULL) {
        return err_set(info, ERR_NOT_FOUND, "the stage has no operator '%.*s' to set",
                       STR_ARG(name));
    }
    struct str key = str_cut(&rest, '.');
    while (rest.ptr != NULL) {
        struct yaml_node *next = child(at, arena_dup(arena, key.ptr, key.len));
        if (next == NULL && str_is(key, "settings")) { /* of a plug-in that had none */
            next = ARENA_NEW(arena, struct yaml_node);
            *next = (struct yaml_node){.kind = YAML_MAP, .file = "set", .line = 1, .column = 1};
            put(arena, at, key, next);
        }
        if (next == NULL || next->kind != YAML_MAP) {
            return err_set(info, ERR_NOT_FOUND, "'%.*s' has no part '%.*s' with settings in it",
                           STR_ARG(name), STR_ARG(key));
        }
        at = next;
        key = str_cut(&rest, '.');
    }
    *ret_place = (struct setting_place){.map = at, .key = key, .value = value};
    return ERR_OK;
}

static enum err put_setting(struct arena *arena, const struct yaml_node *chain, struct str setting,
                            struct err_info *info)
{
    struct setting_place place;
    enum err err = find_place(arena, chain, setting, &place, info);
    if (err == ERR_OK && place.value.len == 0) {
        take_out(place.map, place.key);
    } else if (err == ERR_OK) {
        put(arena, place.map, place.key, scalar(arena, place.value));
    }
    return err;
}

/* The chain of a stage in a text, as a tree; NULL: there is none. */
static enum err read_chain(struct arena *arena, const struct candidate_place *of,
                           const struct yaml_node **ret_root, const struct yaml_node **ret_chain,
                           struct err_info *info)
{
    enum err err = yaml_parse(arena, "in force", of->text, ret_root, info);
    if (err != ERR_OK) {
        return err;
    }
    const struct yaml_node *pipelines = yaml_get(*ret_root, "pipelines");
    const struct yaml_node *own =
        child(pipelines, arena_dup(arena, of->pipeline.ptr, of->pipeline.len));
    const struct yaml_node *at = named(yaml_get(own, "stages"), of->stage);
    *ret_chain = at != NULL ? yaml_get(at, "chain") : NULL;
    return ERR_OK;
}

enum err candidate_text(struct arena *arena, const struct candidate_place *of, const char *settings,
                        struct str *ret_text, struct err_info *info)
{
    const struct yaml_node *root = NULL, *chain = NULL;
    enum err err = read_chain(arena, of, &root, &chain, info);
    struct str rest = str_trim(str_of(settings));
    while (rest.ptr != NULL && err == ERR_OK) {
        struct str setting = str_trim(str_cut(&rest, ';'));
        err = setting.len > 0 ? put_setting(arena, chain, setting, info) : ERR_OK;
    }
    if (err == ERR_OK) {
        *ret_text = config_written_text(arena, root);
    }
    return err;
}

/* "w.cache=" and what it is now; a list or map, or a text with a semicolon, cannot be told as a setting. */
static enum err add_back(struct arena *arena, const struct yaml_node *chain, struct str setting,
                         struct text *back, struct err_info *info)
{
    struct setting_place place = {0};
    enum err err = find_place(arena, chain, setting, &place, info);
    if (err != ERR_OK) {
        return err;
    }
    struct str path = setting;
    path = str_trim(str_cut(&path, '='));
    const struct yaml_node *was = child(place.map, arena_dup(arena, place.key.ptr, place.key.len));
    if (was != NULL && (was->kind != YAML_SCALAR || str_find(was->text, STR(";")) >= 0)) {
        return err_set(info, ERR_UNSUPPORTED,
                       "'%.*s' is more than one word now, which could not be set back",
                       STR_ARG(path));
    }
    struct str value = was != NULL ? was->text : STR("");
    text_printf(back, "%s%.*s=%.*s", text_str(back).len > 0 ? "; " : "", STR_ARG(path),
                STR_ARG(value));
    return ERR_OK;
}

enum err candidate_settings_back(struct arena *arena, const struct candidate_place *of,
                                 const char *settings, struct str *ret_back, struct err_info *info)
{
    const struct yaml_node *root = NULL, *chain = NULL;
    struct text back;
    text_init(&back, arena);
    enum err err = read_chain(arena, of, &root, &chain, info);
    struct str rest = str_trim(str_of(settings));
    while (rest.ptr != NULL && err == ERR_OK) {
        struct str setting = str_trim(str_cut(&rest, ';'));
        err = setting.len > 0 ? add_back(arena, chain, setting, &back, info) : ERR_OK;
    }
    if (err == ERR_OK) {
        *ret_back = text_str(&back);
    }
    return err;
}
