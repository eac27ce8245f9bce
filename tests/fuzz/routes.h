/* routes.h - the server's routes without models, for targets that speak HTTP: requests that need one are refused as not
 * ready. One set for the whole process. */
#ifndef EBM_TESTS_FUZZ_ROUTES_H
#define EBM_TESTS_FUZZ_ROUTES_H

#include "server/routes.h"

#define FUZZ_BODY_BYTES 256u /* longest body of a request */

/* Borrow: static. */
struct routes *fuzz_routes(void);

#endif
