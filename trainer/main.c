/* main.c - ebm-trainer: the table of commands, and the way from a status to an exit code.
 *
 *   0 done   1 failed   2 the command line is wrong   130 stopped by a signal, a checkpoint is saved
 *
 * A command's table of options makes its --help and its errors; see args.h. */
#include <stdio.h>
#include <string.h>

#include "core/device_plugin.h"
#include "core/names.h"
#include "core/version.h"
#include "trainer/args.h"
#include "trainer/calibrate.h"
#include "trainer/device_args.h"
#include "trainer/ensemble.h"
#include "trainer/evaluate.h"
#include "trainer/generate.h"
#include "trainer/import.h"
#include "trainer/inspect.h"
#include "trainer/methods.h"
#include "trainer/next.h"
#include "trainer/predict.h"
#include "trainer/publish.h"
#include "trainer/refine.h"
#include "trainer/train.h"
#include "trainer/validate.h"

#define OPTIONS(table) .options = table, .n_options = EBM_COUNT_OF(table)

/* Rows of a table of a command that reads --data for a model. */
#define IMAGES_ARGS                                                                                                    \
    {.name = "images",                                                                                                 \
     .value = "KIND",                                                                                                  \
     .help = "--data are images of another kind than the model's own: "                                                \
             "folder, utkface, cell200, driving_log, biwi, ccgan"},                                                    \
    {                                                                                                                  \
        .name = "max-bad-files", .value = "N", .help = "images that may be unreadable and are left out (default: 0)"   \
    }

static const struct args_option train_options[] = {
    {.name = "config", .value = "FILE", .help = "the training configuration (JSON)"},
    {.name = "data", .value = "FILE", .help = "a CSV with a header line or an .npy, instead of data.file"},
    {.name = "targets", .value = "FILE", .help = "an .npy of the targets, where --data has the inputs alone"},
    {.name = "max-bad-files", .value = "N", .help = "images that may be unreadable and are left out (default: 0)"},
    {.name = "set",
     .value = "KEY=VALUE",
     .help = "changes the configuration, as in training.epochs=10; may repeat",
     .repeats = true},
    {.name = "output", .value = "DIR", .help = "where model.safetensors and training.jsonl go (default: trained)"},
    {.name = "threads", .value = "N", .help = "default: the cores, at most 8; the result is the same for any number"},
    DEVICE_ARGS,
    {.name = "resume", .value = "DIR", .help = "goes on with the unfinished run in DIR"},
    {.name = "publish",
     .value = "REPO/NAME",
     .help = "afterwards puts the model into a repository, as its next version"},
    {.name = "seeds",
     .value = "LIST",
     .help = "trains once for each seed, as in 0..9 or 1,5,7, into DIR/seed-N, and compares them"},
    {.name = "jobs", .value = "N", .help = "of --seeds and ensembles: how many at once (default: the cores)"},
    {.name = "overwrite", .help = "replaces the run that lies in --output already"},
    {.name = "dry-run", .help = "checks configuration, data and memory, says what would be done, and writes nothing"},
    {.name = "print-config", .help = "prints the configuration with all defaults as JSON, and trains nothing"},
};

static const struct args_option validate_options[] = {
    {.name = "data", .value = "FILE", .help = "a CSV with a header line or an .npy, instead of data.file"},
    {.name = "targets", .value = "FILE", .help = "an .npy of the targets, where --data has the inputs alone"},
    {.name = "max-bad-files", .value = "N", .help = "images that may be unreadable and are left out (default: 0)"},
    {.name = "set",
     .value = "KEY=VALUE",
     .help = "changes the configuration, as in training.epochs=10; may repeat",
     .repeats = true},
};

static const struct args_option methods_options[] = {
    {.name = "method", .value = "NAME", .help = "tells of this one alone"},
};

static const struct args_option evaluate_options[] = {
    {.name = "model", .value = "FILE", .help = "the model file"},
    {.name = "data", .value = "FILE", .help = "a CSV with the model's columns, or an .npy; not needed with --protocol"},
    {.name = "targets", .value = "FILE", .help = "an .npy of the targets, where --data has the inputs alone"},
    IMAGES_ARGS,
    {.name = "protocol",
     .value = "NAME",
     .help = "as published: toy1, set2: KL divergence from the known density; toy2: NLL of --data on a grid"},
    {.name = "grid", .value = "LOWER,UPPER,POINTS", .help = "NLL of --data by a sum over such targets, without draws"},
    {.name = "num-samples", .value = "N", .help = "draws a row, by Sobol points (default: 16384)"},
    {.name = "estimator",
     .value = "NAME",
     .help = "auto (default: one target by integration, several by draws), exact, quadrature, importance, mixture"},
    {.name = "seed", .value = "S", .help = "of the draws (default: 0)"},
    {.name = "missing", .value = "drop|error", .help = "rows with missing values (default: error)"},
    {.name = "threads", .value = "N", .help = "default: the cores, at most 8"},
    DEVICE_ARGS,
    {.name = "split-file", .value = "FILE", .help = "only the rows listed there: a line a split, 0-based row numbers"},
    {.name = "split-index", .value = "N", .help = "which line of it, from 0 (default: 0)"},
    {.name = "row-nll", .value = "FILE", .help = "writes the NLL of every row there as CSV"},
    {.name = "output", .value = "FILE", .help = "writes the figures there as JSON"},
    {.name = "report", .value = "FILE.html", .help = "writes a page with figures and charts there"},
};

static const struct args_option calibrate_options[] = {
    {.name = "model", .value = "FILE", .help = "the model file"},
    {.name = "data",
     .value = "FILE",
     .help = "rows with their targets that the model was not trained on: a CSV with its columns, an .npy, images"},
    {.name = "targets", .value = "FILE", .help = "an .npy of the targets, where --data has the inputs alone"},
    IMAGES_ARGS,
    {.name = "held-out", .help = "--data is what the model was trained on: only rows that training held out then"},
    {.name = "split-file", .value = "FILE", .help = "only the rows listed there: a line a split, 0-based row numbers"},
    {.name = "split-index", .value = "N", .help = "which line of it, from 0 (default: 0)"},
    {.name = "num-samples", .value = "N", .help = "of several targets: draws a row, by Sobol points (default: 4096)"},
    {.name = "seed", .value = "S", .help = "of the draws (default: 0)"},
    {.name = "threads", .value = "N", .help = "default: the cores, at most 8; the result is the same for any number"},
    DEVICE_ARGS,
    {.name = "output", .value = "FILE", .help = "the model file to write"},
};

static const struct args_option predict_options[] = {
    {.name = "model", .value = "FILE", .help = "the model file"},
    {.name = "input", .value = "X1,X2,...", .help = "one input: its numbers in the model's order, or a PNG or JPEG"},
    {.name = "data",
     .value = "FILE",
     .help = "a CSV with the model's input columns, an .npy, or images; a row each, beside the truth if it is there"},
    IMAGES_ARGS,
    {.name = "draw", .help = "draws the density as a picture (scalar target, at most 8 rows)"},
    {.name = "num-samples", .value = "N", .help = "draws a row, by Sobol points (default: 4096)"},
    {.name = "seed", .value = "S", .help = "of the draws (default: 0)"},
    {.name = "output", .value = "FILE", .help = "writes the predictions there as CSV"},
    DEVICE_ARGS,
};

static const struct args_option refine_options[] = {
    {.name = "model", .value = "FILE", .help = "the model file"},
    {.name = "data", .value = "FILE", .help = "a CSV with the model's input columns, or an .npy"},
    {.name = "initial",
     .value = "COLUMN,...",
     .help = "columns of --data to start from, one for each number of the target: an estimate that is to be improved"},
    {.name = "starts",
     .value = "N",
     .help = "without --initial: how many of the draws, those of highest f (default: 4)"},
    {.name = "num-samples", .value = "N", .help = "draws a row, among which starts are chosen (default: 1024)"},
    {.name = "seed", .value = "S", .help = "of the draws (default: 0)"},
    {.name = "steps", .value = "N", .help = "at most (default: 10)"},
    {.name = "step-length",
     .value = "A,...",
     .help = "one number or one for each of the target, where its std in training is 1 (default: 0.01)"},
    {.name = "decay", .value = "F", .help = "what a refused step leaves of the step length (default: 0.5)"},
    {.name = "output", .value = "FILE", .help = "the CSV to write (default: to standard output)"},
};

static const struct args_option join_options[] = {
    {.name = "model", .value = "FILE", .help = "a member's model file; stands once for each", .repeats = true},
    {.name = "output", .value = "FILE", .help = "the ensemble's model file"},
};

#define LAYOUTS "ebms_proposals (the papers'), torchvision (a resnet), ebm (a model file's)"

static const struct args_option import_options[] = {
    {.name = "from", .value = "FILE", .help = "tensors of another program, as safetensors (never a .pth: a pickle)"},
    {.name = "layout", .value = "NAME", .help = "whose names: " LAYOUTS},
    {.name = "config",
     .value = "FILE",
     .help = "the networks (JSON), as under 'model' of a training configuration (default: the metadata of --from)"},
    {.name = "output", .value = "FILE", .help = "the model file to write"},
    {.name = "seed", .value = "S", .help = "of torchvision: initial weights of all but the resnet (default: 0)"},
    {.name = "parity",
     .value = "FILE",
     .help = "rows as for evaluate; results of the first 8 go along, and are checked wherever the model is loaded"},
    {.name = "images", .value = "KIND", .help = "--parity are images: folder, utkface, ... (see evaluate)"},
};

static const struct args_option export_options[] = {
    {.name = "model", .value = "FILE", .help = "the model file"},
    {.name = "layout", .value = "NAME", .help = "whose names: " LAYOUTS},
    {.name = "output", .value = "FILE", .help = "the safetensors file to write"},
};

static const struct args_option generate_options[] = {
    {.name = "rows", .value = "N", .help = "how many (default: 2000)"},
    {.name = "seed", .value = "S", .help = "default: 0"},
    {.name = "output", .value = "PATH", .help = "the CSV to write; of images the folder"},
    {.name = "digits",
     .value = "DIR",
     .help = "of digits-angle: where digits_images.npy and digits_labels.npy are (default: examples/digits)"},
};

static const struct args_command commands[] = {
    {.name = "train",
     .summary = "Trains a model on a table and writes DIR/model.safetensors. Ctrl-C saves a checkpoint.",
     OPTIONS(train_options),
     .run = train_command},
    {.name = "validate",
     .summary = "Checks a training configuration and its data as 'train' would, and writes nothing.",
     .positional = {"CONFIG"},
     OPTIONS(validate_options),
     .run = validate_command},
    {.name = "methods",
     .summary = "Lists the methods of training with their parameters and what those are when nothing is said.",
     OPTIONS(methods_options),
     .run = methods_command},
    {.name = "inspect",
     .summary = "Shows what a model file holds: columns and units, layers, how it was trained.",
     .positional = {"FILE"},
     .run = inspect_command},
    {.name = "evaluate",
     .summary = "Says how well a model predicts known rows: errors, calibration, sharpness; --report writes a page.",
     OPTIONS(evaluate_options),
     .run = evaluate_command},
    {.name = "calibrate",
     .summary = "Makes a model's densities as wide as rows say that it was not trained on (temperature scaling).",
     OPTIONS(calibrate_options),
     .run = calibrate_command},
    {.name = "predict",
     .summary = "Shows what a model says about new inputs: mean, spread, quantiles, a picture.",
     OPTIONS(predict_options),
     .run = predict_command},
    {.name = "refine",
     .summary = "Finds the most likely target of each row by gradient ascent, from an estimate or the proposal.",
     OPTIONS(refine_options),
     .run = refine_command},
    {.name = "generate",
     .summary =
         "Writes a synthetic data set: NAME toy1, toy2, set2 (tables), cells, digits-angle, pose, steering (images).",
     .positional = {"NAME"},
     OPTIONS(generate_options),
     .run = generate_command},
    {.name = "join",
     .summary = "Joins models of one shape into an ensemble: its density is the mean of theirs.",
     OPTIONS(join_options),
     .run = ensemble_command},
    {.name = "import",
     .summary = "Makes a model file of a network that PyTorch trained: the papers' own, a resnet of torchvision.",
     OPTIONS(import_options),
     .run = import_command},
    {.name = "export",
     .summary = "Writes a model's tensors under the names that a PyTorch network has for them.",
     OPTIONS(export_options),
     .run = export_command},
    {.name = "publish",
     .summary = "Puts a model file into a repository as the next version; never overwrites.",
     .positional = {"FILE", "REPOSITORY/NAME"},
     .run = publish_command},
};

static void print_usage(FILE *to)
{
    (void)fprintf(to, "usage: ebm-trainer COMMAND [options]\n\n");
    for (size_t i = 0; i < EBM_COUNT_OF(commands); i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    (void)fprintf(to, "\n'ebm-trainer COMMAND --help' lists the options of a command; "
                      "'ebm-trainer --version' tells the version.\n");
}

static const struct args_command *find_command(const char *word)
{
    const char *names[EBM_COUNT_OF(commands)];
    char space[EBM_NAMES_HINT_BYTES];
    for (size_t i = 0; i < EBM_COUNT_OF(commands); i++)
        names[i] = commands[i].name;
    size_t command = ebm_names_find(word, names, EBM_COUNT_OF(names));
    if (command < EBM_COUNT_OF(commands))
        return &commands[command];
    (void)fprintf(stderr, "ebm-trainer: unknown command '%.64s'%s\n", word,
                  ebm_names_hint(word, names, EBM_COUNT_OF(names), "; 'ebm-trainer --help' lists them", space));
    return NULL;
}

static int report(const struct ebm_error *error)
{
    char why[EBM_DEVICE_FAILURE_BYTES];
    (void)fflush(stdout);
    (void)fprintf(stderr, "ebm-trainer: %s: %s\n", error->where, error->text);
    ebm_device_failure(0, why, sizeof why);
    if (error->status == EBM_DEVICE && why[0] != 0)
        (void)fprintf(stderr, "ebm-trainer: the device says: %s\n", why);
    return error->status == EBM_CANCELLED ? 130 : 1;
}

int main(int argc, char **argv)
{
    struct ebm_error error = {.where = "internal", .text = "failed without a reason"};
    struct args args;
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("ebm-trainer " EBM_VERSION);
        return 0;
    }
    const struct args_command *command = find_command(argv[1]);
    if (command == NULL)
        return 2;
    if (args_parse(command, argc - 2, (const char *const *)argv + 2, &args, &error) != EBM_OK) {
        (void)report(&error);
        return 2;
    }
    if (args.wants_help) {
        args_print_help(command);
        return 0;
    }
    next_init(argv[0]);
    error.status = command->run(&args, &error);
    return error.status == EBM_OK ? 0 : report(&error);
}
