// What documents begin with that a model writes to be calibrated on.

#pragma once

#include <vector>

enum class opening_kind { PROSE, LANGUAGES, TECHNICAL, CODE, NUMBERS, CHAT };

struct opening {
    opening_kind kind;
    const char * text; // of CHAT what the user says, else the first words
};

// all of them, by kind
const std::vector<opening> & all_openings();
