"""The decoder's input in training: correct texts, or its own.

The functions return the input, the labels, and a mask of the tokens that are learned from a teacher.

A decoder that was only trained on correct texts does not know how to continue after a mistake: it begins the sentence
again. This is more frequent with silence after the sentence, and with fewer key/value heads.
"""

import torch

from dataset import IGNORED, Tokens
from network import Whisper

OWN_WORDS, TEMPERATURE = 0.4, 1.5  # the share of a window's text, and the temperature
OWN_TEXTS = 0.5  # the share of windows
HEAD = 4  # tokens before a text without timestamps


def right_texts(network: Whisper, encoded, tokens, labels):
    return tokens, labels, labels != IGNORED


@torch.no_grad()
def own_words(special: Tokens, network: Whisper, encoded, tokens, labels):
    """Scheduled sampling (Bengio et al., 2015): in half of the windows, some words are replaced by the network's own.

    The labels do not change.
    """
    own = torch.distributions.Categorical(logits=network.model.decoder(tokens, encoded)[:, :-1].float() / TEMPERATURE).sample()
    following = tokens[:, 1:]
    share = OWN_WORDS * (torch.rand(len(tokens), 1, device=tokens.device) < 0.5)
    # Tokens from `end` on are not text.
    replaced = (labels[:, :-1] == following) & (following < special.end) & (own < special.end)
    replaced &= torch.rand(own.shape, device=tokens.device) < share
    return torch.cat([tokens[:, :1], torch.where(replaced, own, following)], 1), labels, labels != IGNORED


def own_texts(special: Tokens, network: Whisper, encoded, tokens, labels):
    """On-policy distillation (Agarwal et al., 2024): half of the windows without timestamps have the network's text.

    Within a sentence, only the teacher knows how such a text continues. The token after a sentence is known: the first
    one of the next sentence, or the end after the last.
    """
    # With a prompt or given segments, label HEAD - 1 does not belong to the text.
    rows = (tokens[:, HEAD - 1] == special.no_timestamps) & (labels[:, HEAD - 1] != IGNORED)
    rows &= torch.rand(len(tokens), device=tokens.device) < OWN_TEXTS
    learned = labels != IGNORED
    if not rows.any():
        return tokens, labels, learned
    own = network.model.decoder.write(tokens[rows, :HEAD], encoded[rows], tokens.shape[1], special.end)
    finals = torch.tensor(special.sentence_ends, device=tokens.device)
    known = torch.full_like(own, IGNORED)
    for row, (right, following, written) in enumerate(zip(tokens[rows], labels[rows], own)):
        after = following[torch.isin(right, finals)].tolist()  # each spoken sentence
        for number, position in enumerate(torch.isin(written, finals).nonzero()[:, 0].tolist()):
            known[row, position] = after[number] if number < len(after) else special.end
    # Nothing is learned from text after the end of speech.
    said = (known == special.end).cumsum(1) > 0
    inside = (own != special.end) & ~said & (known == IGNORED) & (torch.arange(own.shape[1], device=tokens.device) >= HEAD - 1)
    tokens, labels = tokens.clone(), labels.clone()
    tokens[rows], labels[rows], learned[rows] = own, known, inside
    return tokens, labels, learned
