// SPDX-License-Identifier: Apache-2.0
#include "base/real/net_tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "base/mem.h"

struct net_tls_conn {
    SSL_CTX *context;
    SSL *ssl;
};

static bool is_numeric(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* The certificate must be signed by whom we trust and name whom we meant. */
static bool set_rules(struct net_tls_conn *tls, const char *name, const struct net_tls *options)
{
    if (options->no_verify) {
        SSL_set_verify(tls->ssl, SSL_VERIFY_NONE, NULL);
        return is_numeric(name) || SSL_set_tlsext_host_name(tls->ssl, name) == 1;
    }
    SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, NULL);
    if (is_numeric(name)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name) == 1;
    }
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(tls->ssl, name) == 1 && SSL_set_tlsext_host_name(tls->ssl, name) == 1;
}

enum err net_tls_open(int fd, const char *host, const struct net_tls *options,
                      struct net_tls_conn **ret_tls, struct err_info *info)
{
    struct net_tls_conn *tls = MEM_NEW(struct net_tls_conn);
    const char *name = options->server_name != NULL ? options->server_name : host;
    enum err err = ERR_OK;
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    CHECK_MSG(tls->context != NULL, "out of memory for TLS");
    IGNORE_RESULT(SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION)); /* a known one */
    if (options->ca_file != NULL) {
        if (SSL_CTX_load_verify_locations(tls->context, options->ca_file, NULL) != 1) {
            err = err_set(info, ERR_INVALID, "'%s' holds no CA certificates in PEM: %s",
                          options->ca_file, ERR_reason_error_string(ERR_peek_last_error()));
        }
    } else if (!options->no_verify && SSL_CTX_set_default_verify_paths(tls->context) != 1) {
        err =
            err_set(info, ERR_INVALID, "the system's CA certificates cannot be read: name a file");
    }
    if (err == ERR_OK) {
        tls->ssl = SSL_new(tls->context);
        CHECK_MSG(tls->ssl != NULL, "out of memory for TLS");
        SSL_set_mode(tls->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (!set_rules(tls, name, options) || SSL_set_fd(tls->ssl, fd) != 1) {
            err = err_set(info, ERR_INVALID, "TLS cannot be set up for '%s'", name);
        }
    }
    if (err != ERR_OK) {
        net_tls_free(tls);
        return err;
    }
    *ret_tls = tls;
    return ERR_OK;
}

/* What OpenSSL's answer means: go on later, or an error. */
static enum err judge(const struct net_tls_conn *tls, int rc, enum net_wait *ret_wait)
{
    *ret_wait = NET_WAIT_NOTHING;
    switch (SSL_get_error(tls->ssl, rc)) {
    case SSL_ERROR_NONE:
        return ERR_OK;
    case SSL_ERROR_WANT_READ:
        *ret_wait = NET_WAIT_READ;
        return ERR_OK;
    case SSL_ERROR_WANT_WRITE:
        *ret_wait = NET_WAIT_WRITE;
        return ERR_OK;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    default:
        return ERR_UNAVAILABLE;
    }
}

enum err net_tls_handshake(struct net_tls_conn *tls, const char *name, enum net_wait *ret_wait,
                           struct err_info *info)
{
    ERR_clear_error();
    enum err err = judge(tls, SSL_connect(tls->ssl), ret_wait);
    if (err == ERR_OK) {
        return ERR_OK;
    }
    long verdict = SSL_get_verify_result(tls->ssl);
    if (verdict != X509_V_OK) {
        return err_set(info, ERR_DENIED, "%s: its certificate is not to be trusted: %s", name,
                       X509_verify_cert_error_string(verdict));
    }
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return err_set(info, ERR_UNAVAILABLE, "%s: no TLS: %s", name,
                   reason != NULL ? reason : "the connection broke off");
}

static int as_int(ptrdiff_t len)
{
    return len > INT_MAX ? INT_MAX : (int)len;
}

enum err net_tls_read(struct net_tls_conn *tls, void *buf, ptrdiff_t len, ptrdiff_t *ret_bytes,
                      enum net_wait *ret_wait)
{
    ERR_clear_error();
    int rc = SSL_read(tls->ssl, buf, as_int(len));
    *ret_bytes = rc > 0 ? rc : 0;
    return judge(tls, rc, ret_wait);
}

enum err net_tls_write(struct net_tls_conn *tls, const void *buf, ptrdiff_t len,
                       ptrdiff_t *ret_bytes, enum net_wait *ret_wait)
{
    ERR_clear_error();
    int rc = SSL_write(tls->ssl, buf, as_int(len));
    *ret_bytes = rc > 0 ? rc : 0;
    return judge(tls, rc, ret_wait);
}

void net_tls_free(struct net_tls_conn *tls)
{
    if (tls != NULL) {
        SSL_free(tls->ssl);
        SSL_CTX_free(tls->context);
        mem_free(tls);
    }
}
