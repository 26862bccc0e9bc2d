/* Any octets as an HTTP answer: whatever comes, what is taken has a sane status and a body that
 * ends in NUL and is no longer than the input. */
#include "resolver/ctl/client.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t size)
{
    struct ctl_response response = {0};

    if (ctl_response_parse((const char *)octets, size, &response) == 0) {
        assert(response.status >= 200 && response.status <= 599);
        assert(response.body_size <= size);
        assert(response.body[response.body_size] == '\0');
        ctl_response_done(&response);
    }
    return 0;
}
