// SPDX-License-Identifier: Apache-2.0
#include "api/answer.h"

#include <jansson.h>
#include <math.h>

#include "test.h"

static struct arena arena;
static struct text text;

static void begin(void)
{
    arena_release(&arena);
    arena_init(&arena, 8 << 20);
    text_init(&text, &arena);
}

static json_t *parse(void)
{
    json_error_t error;
    return json_loadb(text.ptr, (size_t)text.len, JSON_REJECT_DUPLICATES, &error);
}

TEST(openapi_document_holds_every_route_and_parameter)
{
    begin();
    answer_openapi(&text, "1.2.3");
    EXPECT(!text.cut);
    json_t *root = parse();
    EXPECT(root != NULL);
    json_t *paths = json_object_get(root, "paths");
    int operations = 0;
    const char *path = NULL;
    json_t *item = NULL;
    json_object_foreach(paths, path, item)
    {
        operations += (int)json_object_size(item);
    }
    int count = 0;
    for (const struct route *route = routes; route->path != NULL; route++) {
        static const char *const verbs[] = {"get", "post", "put", "patch", "delete"};
        json_t *operation =
            json_object_get(json_object_get(paths, route->path), verbs[route->method]);
        EXPECT_MSG(operation != NULL, "%s is missing", route->path);
        EXPECT(strcmp(json_string_value(json_object_get(operation, "operationId")), route->id) ==
               0);
        size_t wanted = 0;
        for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
            wanted += p->source != PARAM_BODY;
        }
        EXPECT_INT(json_array_size(json_object_get(operation, "parameters")), wanted);
        count++;
    }
    EXPECT_INT(operations, count);
    json_t *schemas = json_object_get(json_object_get(root, "components"), "schemas");
    for (int i = 0; entities[i] != NULL; i++) {
        json_t *properties =
            json_object_get(json_object_get(schemas, entities[i]->name), "properties");
        EXPECT_INT(json_object_size(properties), entities[i]->field_count);
    }
    json_decref(root);
}

TEST(rows_become_json_with_null_for_what_is_unknown)
{
    struct stream_row row = {.name = STR("a\"b\n\xff"),
                             .kind = STR("data"),
                             .shards = 2,
                             .records = 3,
                             .size_bytes = 1,
                             .retention_seconds = (double)NAN,
                             .retention_bytes = FIELD_I64_UNKNOWN};
    begin();
    answer_list(&text, &(struct control_rows){.entity = &stream_entity, .rows = &row, .count = 1});
    json_t *root = parse();
    json_t *item = json_array_get(json_object_get(root, "items"), 0);
    EXPECT(item != NULL);
    EXPECT(strcmp(json_string_value(json_object_get(item, "name")), "a\"b\n\xef\xbf\xbd") == 0);
    EXPECT(json_is_null(json_object_get(item, "retention_seconds")));
    EXPECT(json_is_null(json_object_get(item, "retention_bytes")));
    EXPECT_INT(json_integer_value(json_object_get(item, "shards")), 2);
    json_decref(root);
}

TEST(problems_carry_their_code_and_pointer)
{
    struct problem problem = problem_of(ERR_NO_SPACE);
    problem.detail = "disk \"full\"";
    problem.pointer = "/query/x";
    problem.request_id = "r1";
    begin();
    answer_problem(&text, &problem);
    json_t *root = parse();
    EXPECT(root != NULL);
    EXPECT_INT(json_integer_value(json_object_get(root, "status")), 507);
    EXPECT(strcmp(json_string_value(json_object_get(root, "code")), "SC1305") == 0);
    EXPECT(strcmp(json_string_value(json_object_get(root, "detail")), "disk \"full\"") == 0);
    json_t *first = json_array_get(json_object_get(root, "errors"), 0);
    EXPECT(strcmp(json_string_value(json_object_get(first, "pointer")), "/query/x") == 0);
    json_decref(root);
}

TEST(every_error_has_a_code_of_its_own)
{
    for (int a = 0; a < ERR_COUNT; a++) {
        for (int b = 0; b < a; b++) {
            EXPECT(problem_of((enum err)a).code != problem_of((enum err)b).code);
        }
    }
}

TEST(metrics_follow_the_naming_rules)
{
    static struct partition_row many[ANSWER_PARTITIONS_MAX + 1];
    struct partition_row row = {.pipeline = STR("p\"q"),
                                .stage = STR("s"),
                                .partition = STR("0/0-4096"),
                                .records_in = 5,
                                .lag_records = 7,
                                .demand_ratio = (double)NAN};
    struct control_rows figures[CONTROL_FIGURES_MAX] = {
        {.entity = &partition_entity, .rows = &row, .count = 1}};
    begin();
    answer_metrics(&text, figures, "1.2.3");
    static const char *const wanted[] = {
        "# TYPE shadowcast_partition_records_in_total counter\n",
        "shadowcast_partition_records_in_total{pipeline=\"p\\\"q\",stage=\"s\",partition=\"0/"
        "0-4096\"} 5\n",
        "# TYPE shadowcast_partition_lag_records gauge\n",
        "shadowcast_build_info{version=\"1.2.3\"} 1\n"};
    for (int i = 0; i < (int)COUNT_OF(wanted); i++) {
        EXPECT_MSG(str_find(text_str(&text), str_of(wanted[i])) >= 0, "no %s", wanted[i]);
    }
    EXPECT(str_find(text_str(&text), STR("demand_ratio")) < 0);
    figures[0] = (struct control_rows){
        .entity = &partition_entity, .rows = many, .count = ANSWER_PARTITIONS_MAX + 1};
    begin();
    answer_metrics(&text, figures, "1.2.3");
    EXPECT(str_find(text_str(&text), STR("shadowcast_partition")) < 0);
}

TEST(base64_of_all_lengths)
{
    begin();
    text_json_base64(&text, STR("Ma"));
    text_json_base64(&text, STR("Man"));
    text_json_base64(&text, STR("M"));
    text_json_base64(&text, STR(""));
    EXPECT_STR(text_str(&text), STR("\"TWE=\"\"TWFu\"\"TQ==\"\"\""));
}

TEST(a_text_over_its_limit_says_so)
{
    struct arena small;
    struct text cut;
    arena_init(&small, 4096);
    text_init(&cut, &small);
    for (int i = 0; i < 1000; i++) {
        text_printf(&cut, "%d,", i);
    }
    EXPECT(cut.cut);
    arena_release(&small);
}
