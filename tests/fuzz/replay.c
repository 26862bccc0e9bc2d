/* Runs a fuzz target over each file of a folder, so that whatever once crashed it is a test for
 * good, and over every cut of each file, which finds what reads past an end. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_SIZE_MAX (1u << 20)
#define CUTS_SIZE_MAX 2048u /* inputs larger than this are not cut: the work is quadratic */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a heap copy of exactly its size, so that under AddressSanitizer one octet too many is
 * a crash. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int run_file(const char *path)
{
    static uint8_t data[INPUT_SIZE_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    run(data, size);
    for (size_t cut = 0; size <= CUTS_SIZE_MAX && cut < size; cut++) {
        run(data, cut);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    DIR *folder = opendir(argv[1]);
    if (folder == NULL) {
        perror(argv[1]);
        return 1;
    }
    int failed = 0;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        failed |= run_file(path);
        count++;
    }
    closedir(folder);
    printf("%d inputs\n", count);
    return failed != 0 || count == 0; /* an empty corpus checks nothing */
}
