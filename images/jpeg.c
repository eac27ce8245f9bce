/* jpeg.c - JPEG by libjpeg-turbo's TurboJPEG interface. What libjpeg only warns of (data that end too soon, codes that
 * mean nothing) is refused: it would fill the rest with grey and go on. */
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "images/image_internal.h"

/* Most of a progressive image: encoders make some ten. Each goes over all pixels, however few its bytes. */
#define SCANS 64u

static void turbo_freep(tjhandle *turbo)
{
    if (*turbo != NULL)
        (void)tjDestroy(*turbo);
}

bool jpeg_is_one(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

/* TurboJPEG has no code for a lack of memory; its words are "Memory allocation failure", libjpeg's "Insufficient memory
 * (case 4)". No other of their texts speaks of memory. */
static bool is_about_memory(const char *text)
{
    return strstr(text, "Memory allocation") != NULL || strstr(text, "Insufficient memory") != NULL;
}

static enum ebm_status failed(tjhandle turbo, const char *what, struct ebm_error *reterr)
{
    const char *text = tjGetErrorStr2(turbo);
    return is_about_memory(text) ? image_no_memory(reterr)
                                 : ebm_error_set(reterr, EBM_INVALID, "image", "%s: %s", what, text);
}

enum ebm_status jpeg_read_header(const uint8_t *bytes, size_t size, struct image_header *ret_header,
                                 struct ebm_error *reterr)
{
    EBM_AUTO(turbo_freep) tjhandle turbo = tjInitDecompress();
    int width = 0, height = 0, subsampling = 0, space = 0;
    if (turbo == NULL)
        return image_no_memory(reterr);
    if (tjDecompressHeader3(turbo, bytes, size, &width, &height, &subsampling, &space) != 0 || width < 1 || height < 1)
        return failed(turbo, "not the header of a JPEG", reterr);
    if (space == TJCS_CMYK || space == TJCS_YCCK)
        return ebm_error_set(reterr, EBM_INVALID, "image",
                             "a JPEG in CMYK, the inks of a printer; expected grey or RGB");
    *ret_header = (struct image_header){.format = IMAGE_JPEG,
                                        .width = (uint32_t)width,
                                        .height = (uint32_t)height,
                                        .channels = space == TJCS_GRAY ? 1 : 3};
    return EBM_OK;
}

/* Of the image itself: what segments hold (a thumbnail), and what stands behind its end, does not count. */
static uint32_t count_scans(const uint8_t *bytes, size_t size)
{
    uint32_t n = 0;
    for (size_t at = 2; at + 3 < size;) {
        uint8_t marker = bytes[at + 1];
        bool is_alone = marker <= 1 || marker == 0xff || (marker & 0xf8) == 0xd0; /* restarts: no length behind */
        bool is_data = bytes[at] != 0xff || is_alone;
        if (!is_data && marker == 0xd9)
            break;
        n += !is_data && marker == 0xda;
        at += is_data ? 1 : 2 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3]);
    }
    return n;
}

enum ebm_status jpeg_decode(const uint8_t *bytes, size_t size, const struct image_header *header,
                            uint32_t wanted_channels, struct pixels *ret_pixels, struct ebm_error *reterr)
{
    EBM_AUTO(turbo_freep) tjhandle turbo = tjInitDecompress();
    uint32_t channels = wanted_channels == 1 ? 1 : header->channels;
    EBM_AUTO(ebm_freep) uint8_t *at = malloc((size_t)header->width * header->height * channels);
    if (turbo == NULL || at == NULL)
        return image_no_memory(reterr);
    if (count_scans(bytes, size) > SCANS)
        return ebm_error_set(reterr, EBM_INVALID, "image", "a JPEG of more than %u scans: save it anew", SCANS);
    if (tjDecompress2(turbo, bytes, size, at, (int)header->width, 0, (int)header->height,
                      channels == 1 ? TJPF_GRAY : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING) != 0)
        return failed(turbo, "not a whole JPEG", reterr);
    *ret_pixels = (struct pixels){
        .at = EBM_TAKE_PTR(at), .channels = channels, .height = header->height, .width = header->width};
    return EBM_OK;
}
