/* limits.h - every hard maximum that a file or a client can push against, on one page.
 * The configurable limits live in the option tables; no option goes past these. */
#ifndef EBM_CORE_LIMITS_H
#define EBM_CORE_LIMITS_H

/* model files */
#define LIMIT_FILE_BYTES (4ull << 30)  /* a model file */
#define LIMIT_HEADER_BYTES (16u << 20) /* the JSON header of a safetensors file */
#define LIMIT_TENSORS 65536u
#define LIMIT_TENSOR_DIMS 8u
#define LIMIT_TENSOR_NAME_BYTES 256u
#define LIMIT_CONFIG_BYTES (1u << 20) /* the configuration inside the header */
#define LIMIT_PARITY_ROWS 64u         /* rows that a file may ask to recompute when it is loaded */
#define LIMIT_PARITY_TARGETS 1024u    /* and targets of each */

/* networks */
#define LIMIT_LAYERS 256u  /* in one net */
#define LIMIT_WIDTH 65536u /* inputs or outputs of a layer, numbers of an input */
#define LIMIT_PARAMETERS (1u << 30)
#define LIMIT_IMAGE_CHANNELS 16u /* of an input */
#define LIMIT_IMAGE_SIDE 2048u
#define LIMIT_IMAGE_NUMBERS (1u << 22) /* of an input */
#define LIMIT_IMAGE_VALUES (1u << 24)  /* of one image between two layers */
#define LIMIT_IMAGE_WINDOWS (1u << 28) /* numbers that a convolution reads of one image, overlaps counted again */
#define LIMIT_IMAGE_PACKED                                                                                             \
    (1u << 30) /* weights of a trunk as its convolutions want them, which is up to some 100 times more */
#define LIMIT_IMAGE_KERNEL 31u /* and stride, and padding */
#define LIMIT_RESNET_WIDTH 1024u
#define LIMIT_TARGET_DIM 64u
#define LIMIT_COMPONENTS 256u
#define LIMIT_NAME_BYTES 128u /* a model's name */
#define LIMIT_MEMBERS 64u     /* networks of one ensemble */

/* requests */
#define LIMIT_ROWS 4096u
#define LIMIT_SAMPLES 65536u
#define LIMIT_QUANTILES 64u
#define LIMIT_INTERVALS 32u /* of one highest-density region */
#define LIMIT_STARTS 128u   /* of an ascent, chosen among draws */
#define LIMIT_STEPS 10000u
#define LIMIT_JSON_DEPTH 100u
#define LIMIT_JSON_VALUES (1u << 20)  /* numbers, texts, lists and objects in one body */
#define LIMIT_BATCH_ROWS 1024u        /* rows in one device call */
#define LIMIT_PRIORITIES 16u          /* levels of one model's queue */
#define LIMIT_PIECES 65536u           /* knots of a piecewise linear density */
#define LIMIT_PIECE_FLOATS (4u << 20) /* values of a layer at all its kinks, in one density */
#define LIMIT_PANELS 1024u            /* of quadrature, in one density */

/* accelerators behind one table */
#define LIMIT_DEVICES 16u

/* a server */
#define LIMIT_IO_THREADS 16u
#define LIMIT_WORKERS 256u

/* a server's configuration file */
#define LIMIT_OPTIONS_FILE_BYTES (64u << 10)
#define LIMIT_KEYS_FILE_BYTES (256u << 10)
#define LIMIT_KEYS 1024u                     /* in one file */
#define LIMIT_KEY_NAME_BYTES 64u             /* of the name in a line */
#define LIMIT_KEY_BYTES 256u                 /* of a key that a client sends */
#define LIMIT_CERTIFICATE_BYTES (256u << 10) /* a PEM file */
#define LIMIT_CERTIFICATES 16u               /* in one chain */

/* images */
#define LIMIT_DECODED_SIDE 65535u         /* pixels of a side of a PNG or JPEG */
#define LIMIT_DECODED_PIXELS (1ull << 26) /* in all; decoding one takes up to 9 bytes of each: progressive JPEG */

/* data sets */
#define LIMIT_DATA_ROWS (1u << 28)
#define LIMIT_DATA_COLUMNS 65536u
#define LIMIT_LINE_BYTES (1u << 22) /* one line of a CSV */

#endif
