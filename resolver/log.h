/* log.h - what the daemon says to standard error: logfmt or JSON, one line an event.
 *
 * Only main and the threads log; libraries return errors. Never called on the packet path. */
#ifndef RESOLVER_LOG_H
#define RESOLVER_LOG_H

#include <stddef.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Any thread, at any time. */
void log_set(enum log_level level, enum log_format format);
enum log_level log_level_now(void);

/* Writes one line: time, level, the formatted message, and then pairs of `key, value` strings up to
 * a NULL key. Lines longer than 4 KiB are cut. Control characters never reach the terminal.
 *
 *   log_write(LOG_LEVEL_INFO, "list loaded", "feed", "starter", "names", "4000", NULL); */
void log_write(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__, NULL)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__, NULL)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__, NULL)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__, NULL)

/* A number as text for log_write, in one of a few rotating thread-local buffers: good for the one
 * call it is used in. */
const char *log_number(long long number);

#endif
