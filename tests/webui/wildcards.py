"""Stands for the extensions that fill in wildcards: each picture of a batch gets another word. Used by tests only."""

from modules import scripts

WORDS = {"__pet__": ["cat1", "dog2"], "__other-half__": ["cat1-neg", "dog2-neg"]}


class Wildcards(scripts.Script):
    def title(self):
        return "Wildcards of the test"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def process(self, p, *args):
        """Where such extensions do it as well: before the batches are made."""
        for prompts in (p.all_prompts, p.all_negative_prompts):
            prompts[:] = [filled_in(prompt, number) for number, prompt in enumerate(prompts)]


def filled_in(prompt, number):
    for mark, words in WORDS.items():
        prompt = prompt.replace(mark, words[number % len(words)])
    return prompt
