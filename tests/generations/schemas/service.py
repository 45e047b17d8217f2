"""Health, regions, and who the caller is."""

from __future__ import annotations

from typing import Final

from tests.generations.schemas.notation import TEXT, TIME, Schemas, closed, either, one_of, ref, some, text

SERVICE: Final[Schemas] = {
    "HealthResponse": closed({"status*": TEXT, "timestamp*": TIME}),
    "NotReadyHealthResponse": closed({"status*": one_of("unavailable"), "timestamp*": TIME}),
    "HealthUnavailableErrorResponse": closed({"error*": ref("Unavailable")}),
    "HealthUnavailableResponse": either(ref("NotReadyHealthResponse"), ref("HealthUnavailableErrorResponse")),
    "WhoamiResponse": closed({"org_id*": TEXT, "org_name*": TEXT}),
    "RegionPlacement": closed(
        {"provider*": TEXT, "region*": TEXT, "endpoint*": text(format="uri"), "platforms*": some(TEXT)}
    ),
    "ListRegionsResponse": closed({"regions*": some(ref("RegionPlacement"))}),
}
