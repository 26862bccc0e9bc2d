/* A client's packet through the parser of questions. */
#include "resolver/question.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct question question;
    if (size <= UINT16_MAX && question_parse(data, size, &question) == 0 &&
        bl_name_check(question.name, question.name_size) != question.name_size) {
        abort(); /* a name that the rest of the daemon could not walk */
    }
    return 0;
}
