/* options.h - the server's options: one table gives the struct, the defaults, the bounds, what a flag, a variable of
 * the environment and a configuration file may say, --help and docs/OPTIONS.md. */
#ifndef EBM_SERVER_OPTIONS_H
#define EBM_SERVER_OPTIONS_H

#include "core/buf.h"
#include "core/limits.h"

/* TEXT(member, value's name, default, help)
 * WORD(member, words with | between, default, help)
 * WHOLE(member, default, min, max, help)
 * A member's flag has '-' for '_', its variable is EBM_SERVER_ and its name in capitals, its key in a file its name. */
#define OPTIONS_MAP(TEXT, WORD, WHOLE)                                                                                 \
    TEXT(model_repository, "DIR", "", "Folder with <model>/<version number>/model.safetensors (required)")             \
    TEXT(host, "ADDRESS", "127.0.0.1", "Address to listen on, IPv4 or IPv6")                                           \
    WHOLE(port, 8080, 0, 65535, "Port to listen on; 0 takes any free one")                                             \
    TEXT(device, "NAME", "cpu", "Where to compute: cpu, cuda, cuda:N,N,..., cuda:all, or auto: GPU 0 or else the CPU") \
    TEXT(device_plugin, "FILE", "", "Plug-in of --device cuda, in place of the one installed beside the program")      \
    WORD(precision, "tf32|fp32|bf16", "tf32", "Of a GPU's matrix products over samples; sums are fp32 anyway")         \
    WHOLE(workers, 0, 0, 256, "Threads that compute; 0: one for each core that it may use, two for each GPU")          \
    WHOLE(io_threads, 1, 1, LIMIT_IO_THREADS, "Threads that read requests and send answers")                           \
    WHOLE(versions, 1, 0, 1000000, "Highest versions of each model to load; 0: all")                                   \
    WHOLE(poll_seconds, 0, 0, 86400, "Look for new, changed and removed models every so often; 0: never")              \
    WORD(model_control, "off|on", "off", "May models be loaded and unloaded by request: POST /v2/repository/...")      \
    TEXT(api_keys, "FILE", "", "Only who has a key of this file may ask; SIGHUP reads it again")                       \
    TEXT(host_names, "NAMES", "", "Besides localhost: whom Host of requests to load and unload may name, with commas") \
    TEXT(cors_origin, "ORIGINS", "", "Whose pages may ask and read answers: https://example.org, with commas")         \
    TEXT(tls_cert, "FILE", "", "PEM: the server's certificate, then its chain: HTTPS alone; SIGHUP reads it again")    \
    TEXT(tls_key, "FILE", "", "PEM: the key of --tls-cert, without a password; read again with it")                    \
    WHOLE(max_batch_size, 64, 1, LIMIT_BATCH_ROWS, "Most rows in one batch")                                           \
    WHOLE(max_queue_delay_microseconds, 0, 0, 1000000, "Longest that a short batch waits for company")                 \
    WHOLE(max_queue_rows, 4096, 1, 1 << 20, "Most rows that wait; more are refused with 429")                          \
    WHOLE(max_queue_ms, 0, 0, 86400000, "Longest that a request would wait, by estimate; else 429; 0: --timeout-ms")   \
    WHOLE(timeout_ms, 30000, 1, 86400000, "Longest time for one request; then 504")                                    \
    WHOLE(body_timeout_ms, 30000, 1, 86400000, "Longest time for a whole head or body to arrive; then 408")            \
    WHOLE(max_body_bytes, 4 << 20, 256, 256 << 20, "Largest request body; larger ones are refused with 413")           \
    WHOLE(max_binary_bytes, 64 << 20, 256, 1 << 30, "Largest body of binary tensors, an array or an image; more: 413") \
    WHOLE(max_image_pixels, 1 << 24, 1, LIMIT_DECODED_PIXELS, "Most pixels of a request's images together; more: 413") \
    WHOLE(max_inflight_bytes, 256 << 20, 1 << 20, 1ll << 40, "Bodies and answers held at a time; more: 429")           \
    WHOLE(max_response_bytes, 64 << 20, 4096, 1 << 30, "Largest answer; requests for more are refused with 400")       \
    WHOLE(max_samples, LIMIT_SAMPLES, 1, LIMIT_SAMPLES, "Most samples that a request may ask for")                     \
    WHOLE(max_steps, 1000, 1, LIMIT_STEPS, "Most steps of one ascent or chain that a request may ask for")             \
    WHOLE(max_request_numbers, 1 << 28, 1, 1ull << 40,                                                                 \
          "Most rows x draws x target numbers of a request; more are refused with 400")                                \
    WHOLE(pre_stop_ms, 0, 0, 3600000, "Time between a signal to stop, when /readyz turns 503, and the stop")           \
    WHOLE(max_connections, 1024, 1, 65536, "Most open connections")                                                    \
    WHOLE(max_connections_per_address, 0, 0, 65536, "Most open connections of one address; 0: no such limit")          \
    WHOLE(idle_timeout_s, 60, 1, 86400, "Connections without any traffic are closed after this")                       \
    WORD(triton_metrics, "off|on", "off", "Are Triton's names, nv_inference_..., in GET /metrics besides ours")        \
    WORD(seccomp, "off|on", "off", "Once started, make only the system calls that a running server needs (Linux)")     \
    WORD(log_level, "error|warning|info|debug", "info", "Most detailed lines to write to stderr")                      \
    WORD(log_format, "text|json", "text", "Lines of the log: key=value, or one JSON object each")

/* Where a value comes from; the later wins. */
#define OPTIONS_SOURCE_MAP(X) X(DEFAULT, "default") X(FILE, "file") X(ENVIRONMENT, "environment") X(FLAG, "flag")

enum options_source {
#define X(name, word) OPTIONS_##name,
    OPTIONS_SOURCE_MAP(X)
#undef X
};

enum options_index {
#define OPTIONS_ROW(member, ...) OPTIONS_AT_##member,
    OPTIONS_MAP(OPTIONS_ROW, OPTIONS_ROW, OPTIONS_ROW)
#undef OPTIONS_ROW
        OPTIONS_COUNT
};

struct json_t;

struct options {
#define OPTIONS_TEXT(member, value, standard, help) const char *member;
#define OPTIONS_WORD(member, words, standard, help) const char *member;
#define OPTIONS_WHOLE(member, standard, min, max, help) uint64_t member;
    OPTIONS_MAP(OPTIONS_TEXT, OPTIONS_WORD, OPTIONS_WHOLE)
#undef OPTIONS_TEXT
#undef OPTIONS_WORD
#undef OPTIONS_WHOLE
    uint8_t sources[OPTIONS_COUNT]; /* enum options_source of each */
    struct json_t *file;            /* owns the texts that come from it; NULL: no file */
};

enum options_action {
    OPTIONS_RUN,
    OPTIONS_SHOW_HELP,
    OPTIONS_SHOW_MARKDOWN,
    OPTIONS_SHOW_VERSION,
    OPTIONS_PRINT_CONFIG,
    OPTIONS_CHECK_CONFIG,
    OPTIONS_PRINT_AND_CHECK_CONFIG,
};

/* Reads the file of --config or EBM_SERVER_CONFIG, then EBM_SERVER_<NAME> of the environment, then "--flag value" and
 * "--flag=value". INVALID with where = the flag, the variable, or "FILE: key". Texts are borrowed from argv and the
 * environment. New: options_done. */
enum ebm_status options_parse(int argc, char *const *argv, const char *const *environment, struct options *ret_options,
                              enum options_action *ret_action, struct ebm_error *reterr) EBM_MUST_USE;
/* Warns of variables EBM_SERVER_... that are no option. */
void options_warn(const char *const *environment);
void options_done(struct options *options);

/* The text of --help; the same as a page of the documentation; the values in force as a configuration file. */
enum ebm_status options_help(struct ebm_buf *buf) EBM_MUST_USE;
enum ebm_status options_markdown(struct ebm_buf *buf) EBM_MUST_USE;
enum ebm_status options_print(const struct options *options, struct ebm_buf *buf) EBM_MUST_USE;
/* Of what is not default: "port 9000, from EBM_SERVER_PORT", a line each. */
enum ebm_status options_print_sources(const struct options *options, struct ebm_buf *buf) EBM_MUST_USE;

#endif
