"""What the decoder reads in training, right texts or its own: input, labels, and a mask of what is to be learned from a teacher.

A decoder that only ever reads right texts does not know how to go on after a mistake. It begins the sentence again, more so where silence
follows, and the fewer key/value heads it has.
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
    """In half of the windows some words are those that the network itself would have written there; labels stay.

    Scheduled sampling (Bengio et al., 2015).
    """
    own = torch.distributions.Categorical(logits=network.model.decoder(tokens, encoded)[:, :-1].float() / TEMPERATURE).sample()
    following = tokens[:, 1:]
    share = OWN_WORDS * (torch.rand(len(tokens), 1, device=tokens.device) < 0.5)
    replaced = (labels[:, :-1] == following) & (following < special.end) & (own < special.end)  # tokens from `end` on are no text
    replaced &= torch.rand(own.shape, device=tokens.device) < share
    return torch.cat([tokens[:, :1], torch.where(replaced, own, following)], 1), labels, labels != IGNORED


def own_texts(special: Tokens, network: Whisper, encoded, tokens, labels):
    """Half of the windows without timestamps have the text that the network itself writes.

    On-policy distillation (Agarwal et al., 2024). Within sentences only the teacher can say how such a text goes on. After a sentence it is
    known: with the next one's first token or, when all were said, the end.
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
    # Text after the end of speech is not worth learning from.
    said = (known == special.end).cumsum(1) > 0
    inside = (own != special.end) & ~said & (known == IGNORED) & (torch.arange(own.shape[1], device=tokens.device) >= HEAD - 1)
    tokens, labels = tokens.clone(), labels.clone()
    tokens[rows], labels[rows], learned[rows] = own, known, inside
    return tokens, labels, learned
