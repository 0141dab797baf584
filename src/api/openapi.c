// SPDX-License-Identifier: Apache-2.0
/* The OpenAPI 3.1 document and the documentation's table of routes, from the table of routes and the field tables. */
#include "api/answer.h"
#include "base/check.h"

static const char *field_json_type(const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT:
        return "[\"string\",\"null\"]";
    case FIELD_I64:
        return "[\"integer\",\"null\"]";
    case FIELD_F64:
        return "[\"number\",\"null\"]";
    case FIELD_BOOL:
        return "\"boolean\"";
    }
    return "\"null\"";
}

static void add_entity_schema(struct text *text, const struct entity *entity)
{
    text_printf(text, "\"%s\":{\"type\":\"object\",\"description\":", entity->name);
    text_json_str(text, str_of(entity->help));
    text_add(text, STR(",\"required\":["));
    for (int i = 0; i < entity->field_count; i++) {
        text_printf(text, "%s\"%s\"", i > 0 ? "," : "", entity->fields[i].name);
    }
    text_add(text, STR("],\"properties\":{"));
    for (int i = 0; i < entity->field_count; i++) {
        const struct field *field = &entity->fields[i];
        text_printf(text, "%s\n\"%s\":{\"type\":%s,\"description\":", i > 0 ? "," : "", field->name,
                    field_json_type(field));
        text_json_str(text, str_of(field->help));
        text_add(text, STR("}"));
    }
    text_add(text, STR("}}"));
}

static void add_param_schema(struct text *text, const struct param *param)
{
    switch (param->type) {
    case PARAM_TEXT:
        text_printf(text, "{\"type\":\"string\",\"minLength\":%lld,\"maxLength\":%lld}",
                    (long long)param->min, (long long)param->max);
        return;
    case PARAM_I64:
        text_printf(text, "{\"type\":\"integer\",\"minimum\":%lld,\"maximum\":%lld}",
                    (long long)param->min, (long long)param->max);
        return;
    case PARAM_F64:
        text_printf(text, "{\"type\":\"number\",\"minimum\":%.17g,\"maximum\":%.17g}", param->least,
                    param->most);
        return;
    case PARAM_FLAG:
        text_add(text, STR("{\"type\":\"boolean\"}"));
        return;
    case PARAM_CHOICE:
        break;
    }
    struct str rest = str_of(param->words);
    text_add(text, STR("{\"enum\":["));
    for (bool first = true; rest.ptr != NULL; first = false) {
        text_add(text, first ? STR("") : STR(","));
        text_json_str(text, str_cut(&rest, '|'));
    }
    text_add(text, STR("]}"));
}

static void add_parameters(struct text *text, const struct route *route)
{
    static const char *const places[] = {"path", "query", "header", "body"};
    bool first = true;
    text_add(text, STR(",\"parameters\":["));
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        if (p->source == PARAM_BODY) {
            continue;
        }
        text_printf(text, "%s\n{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,\"description\":",
                    first ? "" : ",", p->name, places[p->source], p->required ? "true" : "false");
        text_json_str(text, str_of(p->help));
        text_add(text, STR(",\"schema\":"));
        add_param_schema(text, p);
        text_add(text, STR("}"));
        first = false;
    }
    text_add(text, STR("]"));
}

static void add_json_body(struct text *text, const struct route *route)
{
    bool first = true;
    text_add(text, STR(",\"requestBody\":{\"required\":true,\"content\":{\"application/json\":"
                       "{\"schema\":{\"type\":\"object\",\"additionalProperties\":false,"
                       "\"required\":["));
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        if (p->source == PARAM_BODY && p->required) {
            text_printf(text, "%s\"%s\"", first ? "" : ",", p->name);
            first = false;
        }
    }
    first = true;
    text_add(text, STR("],\"properties\":{"));
    for (const struct param *p = route->params; p != NULL && p->name != NULL; p++) {
        if (p->source == PARAM_BODY) {
            text_printf(text, "%s\n\"%s\":", first ? "" : ",", p->name);
            add_param_schema(text, p);
            first = false;
        }
    }
    text_add(text, STR("}}}}}"));
}

/* A profile: rows of these entities under these names. */
static void profile_content(struct text *text)
{
    static const char *const lists[][2] = {
        {"answers", "answer"},       {"operators", "operator"},         {"figures", "figure"},
        {"heavy_keys", "heavy_key"}, {"percent_steps", "percent_step"}, {"examples", "example"}};
    text_add(text, STR(",\"content\":{\"application/json\":{\"schema\":{\"type\":\"object\","
                       "\"properties\":{\"shadow\":{\"$ref\":\"#/components/schemas/shadow\"}"));
    for (ptrdiff_t i = 0; i < COUNT_OF(lists); i++) {
        text_printf(text,
                    ",\"%s\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/"
                    "%s\"}}",
                    lists[i][0], lists[i][1]);
    }
    text_add(text, STR("}}}}"));
}

static void add_success(struct text *text, const struct route *route)
{
    text_printf(text, ",\"responses\":{\"%d\":{\"description\":\"done\"", route->status);
    switch (route->answer) {
    case ANSWER_LIST:
        text_printf(text,
                    ",\"content\":{\"application/json\":{\"schema\":{\"type\":\"object\","
                    "\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":\"array\","
                    "\"items\":{\"$ref\":\"#/components/schemas/%s\"}}}}}}",
                    route->entity->name);
        break;
    case ANSWER_ROW:
        text_printf(text,
                    ",\"content\":{\"application/json\":{\"schema\":"
                    "{\"$ref\":\"#/components/schemas/%s\"}}}",
                    route->entity->name);
        break;
    case ANSWER_CHECKS:
        text_add(text, STR(",\"content\":{\"application/json\":{\"schema\":{\"type\":\"object\","
                           "\"required\":[\"ok\",\"checks\"],\"properties\":{\"ok\":{\"type\":"
                           "\"boolean\"},\"checks\":{\"type\":\"array\",\"items\":{\"$ref\":"
                           "\"#/components/schemas/check\"}}}}}}"));
        break;
    case ANSWER_RECORDS:
        text_add(text, STR(",\"headers\":{\"X-Next-Offset\":{\"schema\":{\"type\":\"integer\"}},"
                           "\"X-End-Offset\":{\"schema\":{\"type\":\"integer\"}}},"
                           "\"content\":{\"application/x-ndjson\":{},"
                           "\"application/octet-stream\":{}}"));
        break;
    case ANSWER_DETAIL:
        if (route->entity != NULL) { /* with its options and steps */
            text_printf(text,
                        ",\"content\":{\"application/json\":{\"schema\":{\"allOf\":[{\"$ref\":"
                        "\"#/components/schemas/%s\"},{\"type\":\"object\",\"properties\":{"
                        "\"options\":{\"type\":\"array\",\"items\":{\"$ref\":"
                        "\"#/components/schemas/option\"}},\"steps\":{\"type\":\"array\","
                        "\"items\":{\"$ref\":\"#/components/schemas/step\"}}}}]}}}",
                        route->entity->name);
            break;
        }
        text_add(text,
                 STR(",\"content\":{\"application/json\":{\"schema\":{\"allOf\":[{\"$ref\":"
                     "\"#/components/schemas/partition\"},{\"type\":\"object\","
                     "\"properties\":{\"heavy_keys\":{\"type\":\"array\",\"items\":{\"$ref\":"
                     "\"#/components/schemas/heavy_key\"}},\"key_groups\":{\"type\":\"array\","
                     "\"items\":{\"$ref\":\"#/components/schemas/key_group\"}}}}]}}}"));
        break;
    case ANSWER_TEXT:
        text_add(text, STR(",\"content\":{\"application/yaml\":{}}"));
        break;
    case ANSWER_JSON:
        profile_content(text);
        break;
    case ANSWER_EVENTS:
        text_add(text, STR(",\"content\":{\"text/event-stream\":{}}"));
        break;
    case ANSWER_METRICS:
        text_add(text, STR(",\"content\":{\"text/plain\":{}}"));
        break;
    case ANSWER_OPENAPI:
        text_add(text, STR(",\"content\":{\"application/json\":{}}"));
        break;
    case ANSWER_NONE:
        break;
    }
    text_add(text, STR("},\"default\":{\"$ref\":\"#/components/responses/problem\"}}"));
}

static void add_operation(struct text *text, const struct route *route)
{
    static const char *const verbs[METHOD_COUNT] = {"get", "post", "put", "patch", "delete"};
    text_printf(text, "\"%s\":{\"operationId\":\"%s\",\"summary\":", verbs[route->method],
                route->id);
    text_json_str(text, str_of(route->summary));
    text_printf(text, ",\"x-role\":\"%s\",\"security\":[%s]", role_name(route->role),
                route->role == ROLE_NONE ? "" : "{\"bearer\":[]}");
    add_parameters(text, route);
    if (route->body == BODY_JSON) {
        add_json_body(text, route);
    } else if (route->body == BODY_RECORDS) {
        text_add(text, STR(",\"requestBody\":{\"required\":true,\"content\":{"
                           "\"application/x-ndjson\":{},\"application/octet-stream\":{}}}"));
    } else if (route->body == BODY_TEXT) {
        text_add(text, STR(",\"requestBody\":{\"required\":true,\"content\":{"
                           "\"application/yaml\":{}}}"));
    }
    add_success(text, route);
    text_add(text, STR("}"));
}

void answer_openapi(struct text *text, const char *version)
{
    text_printf(text,
                "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Shadowcast\",\"version\":\"%s\","
                "\"license\":{\"name\":\"Apache-2.0\",\"identifier\":\"Apache-2.0\"}},\n"
                "\"paths\":{",
                version);
    for (const struct route *route = routes; route->path != NULL; route++) {
        bool again = route > routes && strcmp(route->path, route[-1].path) == 0;
        if (!again) {
            text_printf(text, "%s\n\"%s\":{", route > routes ? "}," : "", route->path);
        } else {
            text_add(text, STR(",\n"));
        }
        add_operation(text, route);
    }
    text_add(
        text,
        STR("}},\n\"components\":{\"securitySchemes\":{\"bearer\":{\"type\":\"http\","
            "\"scheme\":\"bearer\"}},\n\"responses\":{\"problem\":{\"description\":"
            "\"RFC 9457 problem\",\"content\":{\"application/problem+json\":{\"schema\":"
            "{\"$ref\":\"#/components/schemas/problem\"}}}}},\n\"schemas\":{"
            "\"problem\":{\"type\":\"object\",\"required\":[\"type\",\"title\","
            "\"status\",\"code\"],\"properties\":{\"type\":{\"type\":\"string\"},"
            "\"title\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},"
            "\"code\":{\"type\":\"string\"},\"detail\":{\"type\":\"string\"},"
            "\"instance\":{\"type\":\"string\"},\"operation\":{\"type\":\"integer\"},\"differences\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"errors\":{\"type\":\"array\"}}}"));
    for (int i = 0; entities[i] != NULL; i++) {
        text_add(text, STR(",\n"));
        add_entity_schema(text, entities[i]);
    }
    text_add(text, STR("}}}\n"));
}

static void add_problem_row(struct text *text, int code, int status, const char *what)
{
    text_printf(text, "| SC%d | %d | %s |\n", code, status, what);
}

void answer_problem_table(struct text *text)
{
    text_add(text, STR("| code | status | what |\n|---|---|---|\n"));
    for (int err = 1; err < ERR_COUNT; err++) {
        struct problem problem = problem_of((enum err)err);
        add_problem_row(text, problem.code, problem.status, problem.title);
    }
    for (int verdict = 1; verdict < GUARD_COUNT; verdict++) {
        struct problem problem = problem_of_guard((enum guard_verdict)verdict);
        add_problem_row(text, problem.code, problem.status, problem.detail);
    }
    add_problem_row(text, PROBLEM_METHOD, 405, "the path does not take this method");
    add_problem_row(text, PROBLEM_RATE, 429, "too many calls: Retry-After says when to come back");
    add_problem_row(text, PROBLEM_BODY_MEDIA, 415, "the body must be application/json");
    add_problem_row(text, PROBLEM_BODY_SHORT, 411, "a body with Content-Length is wanted");
}

void answer_route_table(struct text *text)
{
    text_add(text, STR("| method | path | role | what |\n|---|---|---|---|\n"));
    for (const struct route *route = routes; route->path != NULL; route++) {
        text_printf(text, "| %s | `%s` | %s | %s |\n", method_name(route->method), route->path,
                    route->role == ROLE_NONE ? "" : role_name(route->role), route->summary);
    }
}
