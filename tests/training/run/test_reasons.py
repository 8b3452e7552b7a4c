from lit_listener.training.run.reasons import one_reason

NESTED = """\
Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'Judge'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'package.Judge':
        Parser key "scorer": module 'mine' has no attribute 'nothere'
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'a': 'whole config'}"""


def test_the_one_real_reason_is_told():
    two = NESTED.replace('Parser key "scorer": module', "scorer: module")
    assert one_reason(two) == "model: scorer: module 'mine' has no attribute 'nothere'"
    bare = 'Parser key "a.b":\n  Does not validate against any of the Union subtypes\n  Errors:\n    - Expected an int'
    assert one_reason(bare) == "a.b: Expected an int"


def test_a_class_of_another_kind_is_no_reason_beside_a_real_one():
    union = NESTED.replace(
        "    - Expected a",
        "    - Import path package.Judge does not correspond to a subclass of Table\n    - Expected a",
    ).replace('Parser key "scorer": module', "scorer: module")
    assert one_reason(union) == "model: scorer: module 'mine' has no attribute 'nothere'"


def test_several_reasons_and_other_messages_stay_as_they_are():
    several = NESTED.replace(
        "    - Expected a <class 'NoneType'>", "    - Expected a <class 'NoneType'>\n    - Not a file"
    )
    several = several.replace('Parser key "scorer": module', "scorer: module")
    assert one_reason(several) == several.split("\n  Given value type:")[0]
    assert one_reason("unrecognized arguments: --x") == "unrecognized arguments: --x"
