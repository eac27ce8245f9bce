/* conv.c - which convolutions this machine has. */
#include "core/conv.h"

#ifndef EBM_ONEDNN
const struct ebm_conv_backend *ebm_conv_onednn(void)
{
    return NULL;
}
#endif

const struct ebm_conv_backend *ebm_conv_library(void)
{
    const struct ebm_conv_backend *onednn = ebm_conv_onednn();
    return onednn != NULL ? onednn : ebm_conv_blas();
}
