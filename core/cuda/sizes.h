/* sizes.h - how much of a device's memory is taken at once, in plain C: for what takes it, and for the trainer, which
 * says so before. */
#ifndef EBM_CORE_CUDA_SIZES_H
#define EBM_CORE_CUDA_SIZES_H

#define GPU_WORKSPACE (32u << 20) /* bytes, of cublasLt: of every space */

#ifndef EBM_GPU_PIECE              /* tests have smaller ones, and fewer */
#define EBM_GPU_PIECE (256u << 20) /* bytes of what is computed at once in training: candidates of rows */
#endif
#ifndef EBM_GPU_POINTS
#define EBM_GPU_POINTS 1024u /* most of a row in ml_exact, the true target with them */
#endif
#ifndef EBM_GPU_WINDOWS
#define EBM_GPU_WINDOWS (32u << 20) /* bytes of windows at once: they are read again while they lie in L2 */
#endif
#ifndef EBM_GPU_WINDOWS_BACK
#define EBM_GPU_WINDOWS_BACK (256u << 20) /* the same on the way back, where they are gradients, too */
#endif
#define EBM_GPU_WEIGHT_TILE 128u /* of a product's result, a block's, as it is guessed */
#ifndef EBM_GPU_WEIGHT_TILES
#define EBM_GPU_WEIGHT_TILES 264u /* of a weights' gradient, all parts: two a multiprocessor */
#endif

#endif
