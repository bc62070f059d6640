// Lets a model write text to be calibrated on.
//
//   openings    first words of documents, those of openings.cpp that the vocabulary has tokens for, in an order by the seed
//   places      sequences of one batch; each holds a document that grows by a token a step until it is as long as a chunk
//               or the model ends it
//   the text    documents in the order in which they began, as soon as they are so many tokens as are wanted
//
// The tokens are drawn as the model's probabilities are, of all tokens: cut to the likely ones, text is more uniform than
// any that the model reads later.

#pragma once

#include "common.h"

#include <cstdint>
#include <string>

// path: the file, which is path.part until it is complete; n_tokens: that the model's tokenizer finds in the file, special
// ones parsed; params: the model, threads, devices, and tokens of a chunk as n_ctx
void write_text(common_params params, const std::string & path, int64_t n_tokens, uint64_t seed);

// refuses a model that has no vocabulary, with what to do; path: its file
void check_vocabulary(const llama_model * model, const std::string & path);
