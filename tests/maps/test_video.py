"""Videos: every Nth frame is scored as a photo would be, and drawn as a video again."""

import cv2
import numpy as np
import pytest

from benchmark.errors import BenchmarkError
from benchmark.maps.files import read_scores
from benchmark.maps.photos import Photos
from benchmark.maps.video import Video, VideoFile

FRAMES, FPS = 11, 10.0


def frame(number):
    """Grey steps that a lossy encoder keeps apart, brighter to the right."""
    picture = np.full((48, 64, 3), 20 * number, np.uint8)
    picture[:, 48:] += 30
    return picture


@pytest.fixture
def drive(tmp_path):
    path = tmp_path / "drive.mp4"
    with VideoFile(path, FPS) as video:
        for number in range(FRAMES):
            video.add(frame(number))
    return path


def test_frames_are_those_that_were_written_in_any_order(drive):
    video = Video(drive)
    assert video.numbers == range(FRAMES) and video.fps == FPS
    for number in (0, 1, 5, 2, 10, 10, 0):
        assert np.abs(video.frame(number).astype(int) - frame(number)).mean() < 4
    assert Video(drive, 4).numbers == range(0, FRAMES, 4)


def test_frames_of_odd_sizes_are_padded_to_even_ones(tmp_path):
    path = tmp_path / "odd.mp4"
    with VideoFile(path, 5) as video:
        video.add(frame(3)[:33, :41])
    assert Video(path).frame(0).shape == (34, 42, 3)


def test_a_video_that_is_not_finished_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), VideoFile(tmp_path / "a.mp4", 5) as video:
        video.add(frame(0))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_frames_are_images_with_their_number(drive):
    photos = Photos([drive], longest=32, every=5)
    assert [photos[i].id for i in range(len(photos))] == ["drive/000000", "drive/000005", "drive/000010"]
    assert photos[1].image.shape == (3, 24, 32) and photos.sizes["drive/000005"] == (48, 64)


@pytest.mark.parametrize("content", [b"", b"no video", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"])
def test_what_is_no_video_is_named(tmp_path, content, capfd):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"broken\.mp4 .*convert it"):
        Photos([path])


def test_infer_scores_every_nth_frame_and_draws_a_video(bench, drive):
    assert bench("train", "--methods", "msp") == 0
    folder = bench.folder / "m"
    line = [drive, "--methods", "msp", "--to", folder, "--every", "2", "--workers", "2"]
    assert bench("infer", *line, "--pictures", "--threshold", "0.5") == 0, bench.err
    assert "6 score maps written" in bench.out
    names = [f"{n:06}" for n in range(0, FRAMES, 2)]
    assert sorted(path.stem for path in (folder / "msp" / "drive").iterdir()) == names
    assert sorted(path.stem for path in (folder / "masks" / "msp" / "drive").iterdir()) == names
    drawn = Video(folder / "pictures" / "msp" / "drive.mp4")
    assert len(drawn.numbers) == 6 and drawn.fps == FPS / 2  # as long as the original
    picture = drawn.frame(3)
    assert picture.shape[1] == 2 * 64 + 8 and np.abs(picture[:48, :64].astype(int) - frame(6)).mean() < 10
    cv2.imwrite(str(bench.folder / "six.png"), cv2.cvtColor(Video(drive).frame(6), cv2.COLOR_RGB2BGR))
    assert bench("infer", bench.folder / "six.png", "--methods", "msp", "--to", bench.folder / "s") == 0
    np.testing.assert_array_equal(
        read_scores(folder / "msp" / "drive" / "000006.npy"), read_scores(bench.folder / "s" / "msp" / "six.npy")
    )
    assert bench("infer", *line) == 0 and "0 score maps written, 6 kept" in bench.out
    assert bench("infer", *line[:-4], "--every", "3") == 2 and "(other every, see" in bench.err
