"""`make contracts`: write what is generated from the schemas, from the repository's root."""

from mfuscope.artefacts import write_text
from mfuscope.contracts import data_model, openapi
from mfuscope.contracts.schemas import FOLDER, read_schemas

SCHEMAS = read_schemas(FOLDER)
write_text(data_model.FILE, data_model.data_model(SCHEMAS))
write_text(openapi.FILE, openapi.openapi(openapi.BASE, SCHEMAS))
