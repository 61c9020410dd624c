"""Protobuf messages that kubectl does not carry: CustomResourceDefinition, APIService and what became stable later.

Field numbers and names from the public API definitions (`generated.proto` of apiextensions/v1, apiregistration/v1 and
storage/v1).  One field is `number name type`; the type may be `[]` of, `map` of, or `*` (a pointer: an empty value is
meant), and `!` marks a plain field that JSON shows even when it is empty.
"""

import re
from typing import Any

REPEATED, MAP, KEEP_ZERO = 1, 2, 8
FIELD = re.compile(r"(\d+) (\S+) (\[\]|map |\*|!)?(\S+)")
SCALARS = ("string", "bool", "int", "double", "bytes", "time", "raw")
FLAGS = {"[]": REPEATED, "map ": MAP, "*": KEEP_ZERO, "!": KEEP_ZERO, None: 0}

CRD = "apiextensions.v1."
TEXT = {
    CRD + "CustomResourceDefinition": "1 metadata meta.v1.ObjectMeta; 2 spec .Spec; 3 status .Status",
    CRD + "CustomResourceDefinitionList": "1 metadata meta.v1.ListMeta; 2 items [].CustomResourceDefinition",
    CRD + "Spec": "1 group !string; 3 names .Names; 4 scope !string; 7 versions [].Version; 9 conversion .Conversion; "
    "10 preserveUnknownFields bool",
    CRD + "Names": "1 plural !string; 2 singular string; 3 shortNames []string; 4 kind !string; 5 listKind string; "
    "6 categories []string",
    CRD
    + "Version": "1 name !string; 2 served !bool; 3 storage !bool; 4 schema .Validation; 5 subresources .Subresources; "
    "6 additionalPrinterColumns [].Column; 7 deprecated bool; 8 deprecationWarning *string; "
    "9 selectableFields [].SelectableField",
    CRD + "SelectableField": "1 jsonPath !string",
    CRD + "Column": "1 name !string; 2 type !string; 3 format string; 4 description string; 5 priority int; "
    "6 jsonPath !string",
    CRD + "Validation": "1 openAPIV3Schema .JSONSchemaProps",
    CRD + "Subresources": "1 status .SubresourceStatus; 2 scale .SubresourceScale",
    CRD + "SubresourceStatus": "",
    CRD + "SubresourceScale": "1 specReplicasPath !string; 2 statusReplicasPath !string; 3 labelSelectorPath *string",
    CRD + "Conversion": "1 strategy !string; 2 webhook .WebhookConversion",
    CRD + "WebhookConversion": "2 clientConfig .WebhookClientConfig; 3 conversionReviewVersions []string",
    CRD + "WebhookClientConfig": "1 service .ServiceReference; 2 caBundle bytes; 3 url *string",
    CRD + "ServiceReference": "1 namespace !string; 2 name !string; 3 path *string; 4 port *int",
    CRD + "Status": "1 conditions [].Condition; 2 acceptedNames .Names; 3 storedVersions []string",
    CRD + "Condition": "1 type !string; 2 status !string; 3 lastTransitionTime time; 4 reason string; 5 message string",
    CRD + "ExternalDocumentation": "1 description string; 2 url string",
    CRD + "ValidationRule": "1 rule !string; 2 message string; 3 messageExpression string; 4 reason *string; "
    "5 fieldPath string; 6 optionalOldSelf *bool",
    CRD + "SchemaOrArray": "1 schema .JSONSchemaProps; 2 jSONSchemas [].JSONSchemaProps",
    CRD + "SchemaOrBool": "1 allows !bool; 2 schema .JSONSchemaProps",
    CRD + "SchemaOrStringArray": "1 schema .JSONSchemaProps; 2 property []string",
    CRD + "JSONSchemaProps": "1 id string; 2 $schema string; 3 $ref *string; 4 description string; 5 type string; "
    "6 format string; 7 title string; 8 default *raw; 9 maximum *double; 10 exclusiveMaximum bool; 11 minimum *double; "
    "12 exclusiveMinimum bool; 13 maxLength *int; 14 minLength *int; 15 pattern string; 16 maxItems *int; "
    "17 minItems *int; 18 uniqueItems bool; 19 multipleOf *double; 20 enum []raw; 21 maxProperties *int; "
    "22 minProperties *int; 23 required []string; 24 items *.SchemaOrArray; 25 allOf [].JSONSchemaProps; "
    "26 oneOf [].JSONSchemaProps; 27 anyOf [].JSONSchemaProps; 28 not .JSONSchemaProps; "
    "29 properties map .JSONSchemaProps; 30 additionalProperties *.SchemaOrBool; "
    "31 patternProperties map .JSONSchemaProps; 32 dependencies map .SchemaOrStringArray; "
    "33 additionalItems *.SchemaOrBool; 34 definitions map .JSONSchemaProps; 35 externalDocs .ExternalDocumentation; "
    "36 example *raw; 37 nullable bool; 38 x-kubernetes-preserve-unknown-fields *bool; "
    "39 x-kubernetes-embedded-resource bool; 40 x-kubernetes-int-or-string bool; "
    "41 x-kubernetes-list-map-keys []string; 42 x-kubernetes-list-type *string; 43 x-kubernetes-map-type *string; "
    "44 x-kubernetes-validations [].ValidationRule",
    "apiregistration.v1.APIService": "1 metadata meta.v1.ObjectMeta; 2 spec .APIServiceSpec; "
    "3 status .APIServiceStatus",
    "apiregistration.v1.APIServiceList": "1 metadata meta.v1.ListMeta; 2 items [].APIService",
    "apiregistration.v1.APIServiceSpec": "1 service .ServiceReference; 2 group string; 3 version string; "
    "4 insecureSkipTLSVerify bool; 5 caBundle bytes; 7 groupPriorityMinimum !int; 8 versionPriority !int",
    "apiregistration.v1.ServiceReference": "1 namespace string; 2 name string; 3 port *int",
    "apiregistration.v1.APIServiceStatus": "1 conditions [].APIServiceCondition",
    "apiregistration.v1.APIServiceCondition": "1 type !string; 2 status !string; 3 lastTransitionTime time; "
    "4 reason string; 5 message string",
    "storage.v1.VolumeAttributesClass": "1 metadata meta.v1.ObjectMeta; 2 driverName !string; 3 parameters map string",
}


def message(name: str, text: str) -> list[list[Any]]:
    """The fields of one message: `[number, JSON name, code, message, flags]` each."""
    return [field(name, part) for part in text.split("; ") if part]


def field(owner: str, text: str) -> list[Any]:
    """One field; a type that begins with a dot is a message of the same package."""
    match = FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"{owner}: cannot read the field {text!r}")
    number, name, form, kind = match.groups()
    if kind in SCALARS:
        return [int(number), name, kind, "", FLAGS[form]]
    code = "alternative" if ".SchemaOr" in kind else "message"
    full = owner.rpartition(".")[0] + kind if kind.startswith(".") else kind
    return [int(number), name, code, full, FLAGS[form]]


MESSAGES: dict[str, list[list[Any]]] = {name: message(name, text) for name, text in TEXT.items()}
