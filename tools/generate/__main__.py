"""`make contracts`: write the generated files. Run it in the repository's root."""

from generate import data_model, models, openapi
from generate.schemas import FOLDER, read_schemas
from mfuscope.storage.artefacts import write_text

SCHEMAS = read_schemas(FOLDER)
write_text(data_model.FILE, data_model.data_model(SCHEMAS))
write_text(openapi.FILE, openapi.openapi(openapi.BASE, SCHEMAS))
write_text(models.FILE, models.models_page())
