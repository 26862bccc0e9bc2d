/* The configuration's text: whatever it holds, it is loaded whole or refused with one printable
 * message. */
#include "resolver/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_loaded(const struct config *config)
{
    assert(config->listen_count >= 1 && config->listen_count <= LISTEN_MAX);
    assert(config->access.allow_count <= PREFIXES_MAX);
    assert(config->sinkhole.ipv4_count <= SINKHOLE_ADDRESSES_MAX);
    assert(config->list_file_count <= LIST_FILES_MAX);
    assert(config->hits.output_count <= HIT_OUTPUTS_MAX);
    assert(config->limits.udp_size >= EDNS_UDP_SIZE_MIN);
    assert(config->sinkhole.action != BL_ACTION_DEFAULT);
    assert(config->sinkhole.action != BL_ACTION_ALLOW);
    assert(memchr(config->sinkhole.text, '\0', sizeof(config->sinkhole.text)) != NULL);
    assert(config->node.control[0] == '/');
    for (uint32_t i = 0; i < config->list_file_count; i++) {
        assert(config->list_files[i].path[0] == '/');
        assert(config->list_files[i].feed.name[0] != '\0');
    }
}

static void check_refused(const char *error)
{
    size_t size = strnlen(error, CONFIG_ERROR_SIZE_MAX);
    assert(size > 0 && size < CONFIG_ERROR_SIZE_MAX);
    for (size_t i = 0; i < size; i++) {
        assert((unsigned char)error[i] >= ' ' && error[i] != 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    static char path[64];
    if (file < 0) {
        file = memfd_create("config", MFD_CLOEXEC);
        if (file < 0) {
            abort();
        }
        snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    }
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != (ssize_t)size) {
        abort();
    }
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (config_load(path, &config, error) == 0) {
        check_loaded(config);
        config_free(config);
    } else {
        check_refused(error);
    }
    return 0;
}
