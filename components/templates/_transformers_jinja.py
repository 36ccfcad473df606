"""The only private name of transformers in this package.

`_compile_jinja_template` compiles a chat template in transformers' sandbox, with its filters and `{% generation %}`. It
is private in transformers 5.23, and `render_jinja_template`, which is public, copies every conversation before it
renders: half of the rendering's time. This file goes when a compiled template is public.
"""

from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

__all__ = ["compile_template"]
