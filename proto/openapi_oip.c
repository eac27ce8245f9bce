/* openapi_oip.c - the schemas of the Open Inference Protocol's routes, out of the tables of oip.h.
 *
 * JSON Schema has no words for data that has the size of its shape, nor for inputs that outputs need. */
#include <inttypes.h>

#include "core/limits.h"
#include "proto/oip.h"
#include "proto/openapi_internal.h"

#define say openapi_say
#define TENSORS "{'type':'array','items':{'$ref':'#/components/schemas/Tensor'}}"
#define TEXT "'type':'string','maxLength':%u,'pattern':'^[^\\\\u0000]*$'"

static const char descriptions[] =
    "'Server':{'type':'object','required':['name','version','extensions'],'properties':{'name':{'type':'string'},"
    "'version':{'type':'string'},'extensions':{'type':'array','items':{'type':'string'}}}},"
    "'Tensor':{'type':'object','required':['name','datatype','shape'],'properties':{'name':{'type':'string'},"
    "'datatype':{'type':'string'},'shape':{'type':'array','items':{'type':'integer'}}}},"
    "'Model':{'type':'object','required':['name','versions','platform','inputs','outputs'],'properties':{"
    "'name':{'type':'string'},'versions':{'type':'array','items':{'type':'string'}},'platform':{'type':'string'},"
    "'inputs':" TENSORS ",'outputs':" TENSORS ",";

static const char descriptions_2[] =
    "'optional_inputs':" TENSORS ","
    "'optional_outputs':" TENSORS ","
    "'input_names':{'type':'array','items':{'type':'string'}},"
    "'target_names':{'type':'array','items':{'type':'string'}}}},"
    "'Config':{'type':'object','required':['name','max_batch_size','input','output'],'properties':{"
    "'name':{'type':'string'},'max_batch_size':{'type':'integer'},'input':{'type':'array'},'output':{'type':'array'}}},"
    "'RepositoryRequest':{'type':'object','additionalProperties':false,'properties':{'ready':{'type':'boolean',"
    "'description':'true: only what can be asked'}}},"
    "'ControlRequest':{'type':'object','additionalProperties':false,'properties':{'parameters':{'type':'object',"
    "'additionalProperties':false,'properties':{'unload_dependents':{'type':'boolean',"
    "'description':'models here depend on no others: changes nothing'}}}}},";

static const char descriptions_3[] =
    "'Repository':{'type':'array','items':{'type':'object','required':['name','version','state','reason'],"
    "'properties':{'name':{'type':'string'},'version':{'type':'string'},'state':{'enum':['READY',"
    "'LOADING','UNLOADING','UNAVAILABLE']},'reason':{'type':'string'}}}},"
    "'Infer':{'type':'object','required':['model_name','model_version','outputs'],'properties':{"
    "'model_name':{'type':'string'},'model_version':{'type':'string'},'id':{'type':'string'},"
    "'parameters':{'type':'object'},'outputs':{'type':'array','minItems':1,'items':{"
    "'$ref':'#/components/schemas/Tensor'}}}},";

static const char statistics[] =
    "'Duration':{'type':'object','required':['count','ns'],'properties':{'count':{'type':'integer'},"
    "'ns':{'type':'integer'}}},"
    "'Statistics':{'type':'object','required':['model_stats'],'properties':{'model_stats':{'type':'array','items':{"
    "'type':'object','required':['name','version','last_inference','inference_count','execution_count',"
    "'inference_stats','batch_stats'],'properties':{'name':{'type':'string'},'version':{'type':'string'},"
    "'last_inference':{'type':'integer'},'inference_count':{'type':'integer'},'execution_count':{'type':'integer'},"
    "'inference_stats':{'type':'object','additionalProperties':{'$ref':'#/components/schemas/Duration'}},"
    "'batch_stats':{'type':'array'}}}}}},";

static void write_input(struct ebm_buf *buf)
{
    const char *comma = "";
    say(buf,
        "'InferInput':{'type':'object','additionalProperties':false,'required':['name','shape','datatype','data'],"
        "'properties':{'name':{'enum':['x','quantiles','targets','cdf','crps_at']},'shape':{'type':'array',"
        "'minItems':1,'maxItems':%u,'items':{'type':'integer','minimum':0,'maximum':%u}},'datatype':{'enum':[",
        TENSOR_DIMS, LIMIT_JSON_VALUES);
    for (uint32_t i = TENSOR_BOOL + 1; i < TENSOR_TYPES; i++, comma = ",")
        say(buf, "%s'%s'", comma, tensor_type_word(i));
    say(buf, "]},'data':{'type':'array','description':'flat, row by row, or nested as shape has it'}}},");
}

static void write_output(struct ebm_buf *buf)
{
    const char *comma = "";
    say(buf, "'InferOutput':{'type':'object','additionalProperties':false,'required':['name'],'properties':{"
             "'name':{'enum':[");
    for (uint32_t i = 0; i < OIP_OUTPUTS; i++, comma = ",")
        say(buf, "%s'%s'", comma, oip_output_word(i));
    say(buf, "]},'parameters':{'type':'object','additionalProperties':false,'properties':{"
             "'binary_data':{'type':'boolean'}}}}},");
}

void openapi_oip_schemas(struct ebm_buf *buf, const struct openapi_info *info)
{
    uint32_t n;
    const struct field *parameters = oip_parameters(&n);
    say(buf, "%s", descriptions);
    say(buf, "%s", descriptions_2);
    say(buf, "%s", descriptions_3);
    say(buf, "%s", statistics);
    write_input(buf);
    write_output(buf);
    say(buf,
        "'InferRequest':{'type':'object','additionalProperties':false,'required':['inputs'],'properties':{"
        "'id':{" TEXT "},'model_name':{" TEXT "},'model_version':{" TEXT "},'inputs':{'type':'array',"
        "'minItems':1,'maxItems':%u,'items':{'$ref':'#/components/schemas/InferInput'}},'outputs':{'type':'array',"
        "'maxItems':%u,'items':{'$ref':'#/components/schemas/InferOutput'}},'parameters':{",
        REQUEST_ID_CHARACTERS, LIMIT_NAME_BYTES, LIMIT_NAME_BYTES, OIP_INPUTS, OIP_OUTPUTS);
    openapi_write_object(buf, parameters, n, info);
    say(buf, ",'dependentRequired':{'max_samples':['target_ess']}}}}");
}
