/* make_presets.c -- writes the model of tests/unit/presets_fixture.h and its importance matrix into the
 * directory $PRESETS_DIRECTORY. A Criterion test, since fixtures assert; built and run by make_presets.py. */
#include "presets_fixture.h"

Test(make_presets, fixture) {
    const char *directory = getenv("PRESETS_DIRECTORY");
    cr_assert_not_null(directory);
    FixtureModel m = presets_model();
    fixture_model(directory, &m);
    presets_imatrix(directory, &m);
}
