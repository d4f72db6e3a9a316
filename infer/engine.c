#include "infer/engine.h"
