printf '#!/bin/sh\necho built\n' >"$BUILD_OUTPUT_DIR/$BUILD_BINARY_NAME"
chmod +x "$BUILD_OUTPUT_DIR/$BUILD_BINARY_NAME"
