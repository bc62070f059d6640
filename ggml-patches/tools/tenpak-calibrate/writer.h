// Lets a model write text to be calibrated on.
//
//   openings    first words of documents, those of openings.cpp that the vocabulary has tokens for, in an order by the seed
//   places      sequences of one batch; each holds a document that grows by a token a step until it is as long as a chunk
//               or the model ends it
//   a text      documents in the order in which they began, as soon as they are so many tokens as are wanted
//
// Several texts are written in the same steps, since the weights are read once for all documents of a step. A free place goes
// to the first text that has fewer documents growing than it has chunks; the place of a text that is complete is free.
//
// The tokens are drawn as the model's probabilities are, of all tokens: cut to the likely ones, text is more uniform than
// any that the model reads later.

#pragma once

#include "common.h"
#include "options.h"

#include <string>
#include <vector>

// params: the model, threads, devices, and tokens of a chunk as n_ctx
void write_texts(common_params params, const std::vector<wanted_text> & wanted);

// refuses a model that has no vocabulary, with what to do; path: its file
void check_vocabulary(const llama_model * model, const std::string & path);
