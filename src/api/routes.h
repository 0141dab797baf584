// SPDX-License-Identifier: Apache-2.0
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "api/auth.h"
#include "control/request.h"

/* The routes: one table, one row a route. Dispatch, the binding and checking of parameters, the OpenAPI document, the
 * tests of who may call what, and the table in docs/api.md come from it. */

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_COUNT };

enum param_source { PARAM_PATH, PARAM_QUERY, PARAM_HEADER, PARAM_BODY };

enum param_type {
    PARAM_TEXT,   /* up to max bytes; min: at least */
    PARAM_I64,    /* min..max */
    PARAM_F64,    /* seconds and the like, min..max */
    PARAM_CHOICE, /* one of the words; stored as its index */
    PARAM_FLAG    /* true or false */
};

struct param {
    const char *name; /* NULL ends a list */
    enum param_source source;
    enum param_type type;
    bool required;
    size_t offset;      /* in struct control_args */
    int64_t min, max;   /* of a PARAM_I64; of a PARAM_TEXT its bytes */
    double least, most; /* of a PARAM_F64 */
    const char *words;  /* of a choice: "a|b" */
    const char *help;
};

enum body_kind {
    BODY_NONE,
    BODY_JSON,    /* an object; its members are the PARAM_BODY parameters */
    BODY_RECORDS, /* handed on as it is */
    BODY_TEXT     /* the same, of a configuration's size */
};

enum answer_kind {
    ANSWER_LIST,    /* {"items": [row, ...]} */
    ANSWER_ROW,     /* a row */
    ANSWER_NONE,    /* 204 */
    ANSWER_RECORDS, /* NDJSON or raw lines */
    ANSWER_CHECKS,  /* {"ok": ..., "checks": [row, ...]}; 503 if one is not ok */
    ANSWER_DETAIL,  /* a row, and lists of rows that belong to it as members */
    ANSWER_TEXT,    /* a configuration */
    ANSWER_JSON,    /* an object that control has written */
    ANSWER_EVENTS,  /* server-sent events, without end */
    ANSWER_METRICS, /* Prometheus text */
    ANSWER_OPENAPI  /* the document; control is not asked */
};

struct route {
    enum method method;
    const char *path; /* "{name}" stands for one segment */
    enum role role;   /* the least that may call it */
    enum control_kind kind;
    enum body_kind body;
    enum answer_kind answer;
    const struct entity *entity; /* of the answer's rows; may be NULL */
    int status;                  /* of success */
    bool audit;                  /* an order: leaves an audit record */
    const struct param *params;  /* may be NULL */
    const char *id;              /* operationId */
    const char *summary;
};

extern const struct route routes[]; /* ended by a NULL path */

const char *method_name(enum method method);

/* Finds the route for a method and a raw path (no query), still percent-encoded. HEAD is GET.
 * Errors: NOT_FOUND (no such path), UNSUPPORTED (the path is there, the method is not: `ret_allow` lists those that are,
 * "GET, POST"), INVALID (bad percent-encoding). */
enum { ROUTE_ALLOW_MAX = 48 };
ATTR_NODISCARD enum err route_find(struct str method, struct str path,
                                   const struct route **ret_route, char ret_allow[ROUTE_ALLOW_MAX],
                                   struct err_info *info);

/* Where parameters come from. */
struct bind_input {
    struct str path;
    struct str query; /* without '?'; ptr NULL: none */
    /* Value of a request header, ptr NULL if absent. */
    struct str (*header)(void *ctx, const char *name);
    void *ctx;
};

/* Fills `args` (set to defaults before) with the route's parameters, checked: first those of path, query and headers,
 * before a body has come; then those of a JSON body.
 *   ret_pointer   on failure: what is wrong, "/query/limit", "/body/shards"
 * Errors: INVALID, TYPE, LIMIT, PARSE. Unknown and doubled query parameters and members are errors. */
enum { BIND_POINTER_MAX = 96 };
ATTR_NODISCARD enum err route_bind_head(const struct route *route, const struct bind_input *input,
                                        struct control_args *args,
                                        char ret_pointer[BIND_POINTER_MAX], struct err_info *info);
ATTR_NODISCARD enum err route_bind_body(const struct route *route, struct str body,
                                        struct control_args *args,
                                        char ret_pointer[BIND_POINTER_MAX], struct err_info *info);

/* Decodes percent-encoding (and, with `plus`, '+' as a blank) into `buf` with a 0 behind it.
 * Errors: INVALID (bad or NUL), LIMIT (over `cap` - 1 bytes). */
ATTR_NODISCARD enum err uri_decode(struct str text, bool plus, char *buf, ptrdiff_t cap,
                                   ptrdiff_t *ret_len, struct err_info *info);

#endif
